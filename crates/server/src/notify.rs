//! Telling systemd how the service is (`sd_notify(3)`), without its library: a datagram to a socket it names.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How often a start that takes long asks for more time …
pub(crate) const READING_TOLD_EVERY: Duration = Duration::from_secs(5);
/// … and for how much: a service that says nothing for that long is dead.
const READING_TOLD_MAX: Duration = Duration::from_secs(60);

/// What the service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The log is read, which may take longer than a start usually may.
    Reading,
    /// Requests are served.
    Ready,
    /// The configuration is read again; [`State::Ready`] follows.
    Reloading,
    /// The service is on its way out.
    Stopping,
}

/// Tells the service manager, if there is one. That it does not listen is no reason to fail, only to say so.
pub(crate) fn tell(state: State) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return;
    };
    if let Err(error) = send(&socket, &message(state)) {
        tracing::warn!(event = "notify_failed", error = %error);
    }
}

fn message(state: State) -> String {
    match state {
        State::Reading => format!(
            "EXTEND_TIMEOUT_USEC={}\nSTATUS=reading the log\n",
            READING_TOLD_MAX.as_micros()
        ),
        State::Ready => "READY=1\nSTATUS=\n".to_owned(),
        State::Stopping => "STOPPING=1\n".to_owned(),
        State::Reloading => {
            // systemd ignores a reload without the time at which it began.
            let now = clock_gettime(ClockId::Monotonic);
            format!("RELOADING=1\nMONOTONIC_USEC={}\n", now.tv_sec * 1_000_000 + now.tv_nsec / 1000)
        }
    }
}

fn send(socket: &OsString, message: &str) -> io::Result<()> {
    let name = socket.as_bytes();
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let n = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..n].to_vec()).unwrap()
    }

    #[test]
    fn the_service_manager_hears_us_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        send(&path.into_os_string(), &message(State::Ready)).unwrap();
        assert_eq!(received(&by_path), "READY=1\nSTATUS=\n");

        let name = format!("tenure-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        send(&OsString::from(format!("@{name}")), &message(State::Reloading)).unwrap();
        assert!(received(&by_name).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    }
}
