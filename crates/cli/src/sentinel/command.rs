//! The wrapper's side: starts a sentinel and talks to it.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as BlockingStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::orders::Orders;
use super::runner::MYSELF;
use super::wire::{FromSentinel, ToSentinel};

/// The name of the inner command.
pub(crate) const NAME: &str = "__sentinel";
/// Room for one descriptor beside a message.
const ANCILLARY_BYTES: usize = 64;

/// What to start, and with which environment beside our own.
pub(crate) struct Launch {
    /// The sentinel's orders.
    pub(crate) orders: Orders,
    /// Set for the command.
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

/// A running sentinel.
pub(crate) struct Sentinel {
    process: Child,
    lines: Lines<BufReader<OwnedReadHalf>>,
    socket: OwnedWriteHalf,
    /// The command's process group, once it runs.
    group: Option<Pid>,
}

impl Sentinel {
    /// Starts the sentinel, which starts the command with our standard input, output and error.
    pub(crate) fn start(launch: Launch) -> io::Result<Self> {
        let (ours, theirs) = BlockingStream::pair()?;
        let process = Command::new(MYSELF)
            .arg0("tenure")
            .arg(NAME)
            .args(launch.orders.write())
            .envs(launch.environment)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .process_group(0)
            .spawn()?;
        send_input(&ours)?;
        ours.set_nonblocking(true)?;
        let (reading, socket) = UnixStream::from_std(ours)?.into_split();
        Ok(Sentinel { process, lines: BufReader::new(reading).lines(), socket, group: None })
    }

    /// The next thing it says; `None` once it is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<FromSentinel> {
        loop {
            let line = self.lines.next_line().await.ok()??;
            let Ok(said) = line.parse() else { continue };
            if let FromSentinel::Started(pid) = said {
                self.group = Pid::from_raw(pid);
            }
            return Some(said);
        }
    }

    /// Tells it something. What does not fit is dropped: the socket holds hundreds of lines, so the sentinel is frozen,
    /// and a frozen sentinel is dealt with by whoever waits for the command's end.
    pub(crate) fn tell(&self, what: ToSentinel) {
        let _ = self.socket.try_write(format!("{what}\n").as_bytes());
    }

    /// The command's process group.
    pub(crate) fn group(&self) -> Option<Pid> {
        self.group
    }

    /// Its own process.
    pub(crate) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// Reaps the sentinel, ended or not.
    pub(crate) fn end(mut self) {
        // It has said its last word, or is stuck and must not stay.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The sentinel's own standard input is the socket, so the command's comes over the socket.
fn send_input(socket: &BlockingStream) -> io::Result<()> {
    let input = io::stdin();
    let descriptors = [input.as_fd()];
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let fits = beside.push(SendAncillaryMessage::ScmRights(&descriptors));
    assert!(fits, "one descriptor needs less than {ANCILLARY_BYTES} bytes");
    sendmsg(socket, &[IoSlice::new(b"i")], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The other end of `send_input`.
pub(super) fn receive_input(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let received = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.ok_or_else(|| io::Error::other("the wrapper is gone"))
}
