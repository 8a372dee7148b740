//! The doors of the service: who is let in, how long they may dawdle, and who leaves first when it is full.

mod answer;
mod body;
mod cors;
mod crowd;
mod rest;
mod unread;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use crate::app::App;
use crate::config::{ConnectionLimits, Listen};
use crate::identity::Peer;
use crate::tls::{Tls, subject};

use answer::Answering;
pub(crate) use crowd::{Crowd, descriptors_for_connections};
use crowd::{Full, Seat};
use wire::Wire;

/// Connections that wait to be let in; the kernel may know a lower bound. A thousand clients that come at once, as after a
/// restart, would be too many for the usual 128: most would try again after a second, and some would be cut off.
const BACKLOG_MAX: u32 = 4096;
/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Header fields of one request; more are answered 431.
const HEADERS_MAX: usize = 100;
/// Bytes of the head of one request; more are answered 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Requests open at once on one HTTP/2 connection. A client whose waits fill it would keep its own renewals out, so it
/// is well above what one process waits for.
const STREAMS_MAX: u32 = 1024;
/// How long to rest when the system has no descriptor left, so that the loop does not spin.
const EXHAUSTED_REST: Duration = Duration::from_millis(50);
/// How long connections may go on with the answers they owe once the server stops.
const FAREWELL_MAX: Duration = Duration::from_secs(5);
/// A silent peer is asked after this long whether it is still there …
const PROBE_AFTER: Duration = Duration::from_secs(20);
/// … again at this pace …
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// … and is gone after so many questions: the place of a waiter whose machine died is free after 35 s.
const PROBES_MAX: u32 = 3;

/// A bound socket.
pub(crate) struct Door {
    listener: Listener,
    admin: bool,
    name: String,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// What all doors share.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) app: App,
    pub(crate) router: axum::Router,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) tls: Option<Arc<Tls>>,
    /// Whether there is a door for operators only.
    pub(crate) has_admin_door: bool,
}

impl Door {
    /// Binds an address.
    pub(crate) async fn bind(at: &Listen, admin: bool) -> io::Result<Self> {
        match at {
            Listen::Tcp(address) => {
                let listener = listen(*address)?;
                let name = listener.local_addr()?.to_string();
                Ok(Door { listener: Listener::Tcp(listener), admin, name })
            }
            Listen::Unix(path) => {
                remove_stale_socket(path).await?;
                let listener = UnixListener::bind(path)?;
                let name = format!("unix:{}", path.display());
                Ok(Door { listener: Listener::Unix(listener, path.clone()), admin, name })
            }
        }
    }

    /// Its address with the port it got; `None` for a Unix socket.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    /// Its address as a text.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is for operators.
    pub(crate) fn is_admin(&self) -> bool {
        self.admin
    }

    /// Lets connections in until the server stops.
    pub(crate) async fn open(self, house: House) {
        let stopped = house.app.drain.clone();
        let accepting = async {
            loop {
                match self.accept().await {
                    Ok(guest) => self.admit(&house, guest),
                    Err(error) => rest_after(&error, &house.crowd, &self.name).await,
                }
            }
        };
        tokio::select! {
            () = stopped.stopped() => {}
            () = accepting => {}
        }
        if let Listener::Unix(_, path) = &self.listener {
            // It may be gone already; nobody is served by it any more either way.
            let _ = std::fs::remove_file(path);
        }
    }

    async fn accept(&self) -> io::Result<Guest> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(Guest::Tcp(stream, address))
            }
            Listener::Unix(listener, _) => Ok(Guest::Unix(listener.accept().await?.0)),
        }
    }

    fn admit(&self, house: &House, guest: Guest) {
        let address = match &guest {
            Guest::Tcp(_, address) => Some(address.ip().to_canonical()),
            Guest::Unix(_) => None,
        };
        let seat = match house.crowd.seat(address) {
            Ok(seat) => seat,
            Err(full) => return turn_away(house, guest, full),
        };
        let peer = Peer {
            address,
            certificate: None,
            admin: self.admin,
            operators_welcome: self.admin || !house.has_admin_door,
            tls: false,
        };
        tokio::spawn(welcome(house.clone(), guest, seat, peer));
    }
}

enum Guest {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// Listens as tokio would, but with room for many newcomers at once.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // The port is free again at once, also while connections of the last server linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG_MAX)
}

/// A socket file that nobody listens at is what a killed server left.
async fn remove_stale_socket(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    // Any other error, as of a server whose queue is full, says nothing of who listens: binding will refuse.
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Makes room or waits, so that a lack of descriptors neither spins nor kills.
async fn rest_after(error: &io::Error, crowd: &Crowd, door: &str) {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
            let made_room = crowd.close_the_idlest();
            tracing::warn!(event = "descriptors_exhausted", door, made_room, error = %error);
            tokio::time::sleep(EXHAUSTED_REST).await;
        }
        // The peer was gone before we looked; the next one may not be.
        Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::PROTO | Errno::INTR) => {}
        _ => {
            tracing::warn!(event = "accept_failed", door, error = %error);
            tokio::time::sleep(EXHAUSTED_REST).await;
        }
    }
}

/// Says in plain HTTP that there is no room. In TLS nothing can be said before a handshake, which is what there is no
/// room for.
fn turn_away(house: &House, guest: Guest, full: Full) {
    house.app.metrics.limit_hit(full.limit());
    if house.tls.is_some() {
        return;
    }
    let answer = answer::no_room(full);
    // What cannot be written at once is not worth waiting for.
    let _ = match guest {
        Guest::Tcp(stream, _) => stream.try_write(&answer),
        Guest::Unix(stream) => stream.try_write(&answer),
    };
}

/// Speaks with one peer until it leaves.
async fn welcome(house: House, guest: Guest, seat: Seat, peer: Peer) {
    match guest {
        Guest::Unix(stream) => converse(&house, stream, seat, peer).await,
        Guest::Tcp(stream, _) => {
            prepare(&stream);
            match &house.tls {
                None => converse(&house, stream, seat, peer).await,
                Some(tls) => encrypted(&house, tls, stream, seat, peer).await,
            }
        }
    }
}

/// Answers leave at once, and a peer that vanished without a word is found out.
fn prepare(stream: &TcpStream) {
    use rustix::net::sockopt;
    // A socket that refuses is a connection that just ended; serving it will tell.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, PROBE_AFTER);
    let _ = sockopt::set_tcp_keepintvl(stream, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepcnt(stream, PROBES_MAX);
}

async fn encrypted(house: &House, tls: &Tls, stream: TcpStream, seat: Seat, mut peer: Peer) {
    let handshake = timeout(HANDSHAKE_MAX, tls.acceptor().accept(stream));
    let stream = tokio::select! {
        done = handshake => match done {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(event = "handshake_failed", error = %error);
                return;
            }
            Err(_) => return,
        },
        () = seat.vitals().asked_to_leave() => return,
    };
    seat.vitals().greeted();
    let certificates = stream.get_ref().1.peer_certificates();
    peer.certificate = certificates.and_then(|chain| chain.first()).and_then(subject);
    peer.tls = true;
    converse(house, stream, seat, peer).await;
}

/// Serves HTTP/1.1 or 2 on a connection until it ends or the crowd wants it to.
async fn converse<S>(house: &House, stream: S, seat: Seat, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let vitals = seat.vitals().clone();
    let answering = Answering::new(house, peer, vitals.clone());
    let wire = TokioIo::new(Wire::new(stream, vitals.clone()));
    let builder = protocol();
    let mut connection = std::pin::pin!(builder.serve_connection(wire, answering));
    tokio::select! {
        biased;
        // An error is a peer that broke off or spoke nonsense, which hyper has answered.
        _ = connection.as_mut() => return,
        () = vitals.asked_to_leave() => {}
    }
    if vitals.may_finish() {
        connection.as_mut().graceful_shutdown();
        // Whoever does not take the last answer in time is left.
        let _ = timeout(FAREWELL_MAX, connection).await;
    }
}

/// How HTTP is spoken here. The head's time limit is not hyper's: its clock runs also between requests, so that an
/// idle connection would end after `header_timeout`; [`Crowd::sweep`] keeps the two apart. And its gathering of pipelined
/// answers (`pipeline_flush`) stays off: it drops the 400 or 431 to a head it cannot read. So does `half_close`: the end of
/// a client's bytes is how the place of a waiter that hung up is free at once.
fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    builder
}

/// How many may be connected: what was configured, or what the system has descriptors for.
pub(crate) fn fitted(limits: ConnectionLimits, descriptors: usize) -> ConnectionLimits {
    ConnectionLimits { total_max: limits.total_max.min(descriptors), ..limits }
}
