//! Where log lines leave the process: by a thread of their own, so that a reader that does not read stops no request.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be read; more are left out and counted.
const LINES_MAX: usize = 4096;
/// How long a process that ends waits for its last lines to be read.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The way out for lines; a cheap handle.
#[derive(Clone)]
pub(super) struct Outlet {
    queue: SyncSender<Told>,
    lost: Arc<AtomicU64>,
}

enum Told {
    Line(Vec<u8>),
    /// Answered once all lines before it are out.
    Flush(SyncSender<()>),
}

impl Outlet {
    /// Starts the thread that writes to `target`.
    pub(super) fn to(target: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, told) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let outlet = Outlet { queue, lost: lost.clone() };
        let name = "tenure-lines".to_owned();
        std::thread::Builder::new().name(name).spawn(move || write_lines(target, &told, &lost))?;
        Ok(outlet)
    }

    /// Waits until what was said is out, but not for ever.
    pub(super) fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.queue.try_send(Told::Flush(done)).is_ok() {
            // A reader that has not read by now will not.
            let _ = is_done.recv_timeout(FLUSH_MAX);
        }
    }
}

fn write_lines(mut target: impl Write, told: &Receiver<Told>, lost: &AtomicU64) {
    while let Ok(told) = told.recv() {
        match told {
            // A closed standard error is no reason to stop serving, and there is nobody to tell.
            Told::Line(line) => drop(target.write_all(&line)),
            Told::Flush(done) => drop(done.try_send(())),
        }
        let lines = lost.swap(0, Relaxed);
        if lines > 0 {
            tracing::warn!(event = "log_lines_lost", lines);
        }
    }
}

/// Takes one line.
pub(super) struct Pen(Outlet);

impl<'a> MakeWriter<'a> for Outlet {
    type Writer = Pen;

    fn make_writer(&'a self) -> Pen {
        Pen(self.clone())
    }
}

impl Write for Pen {
    /// Every call is a whole line: events are formatted before they are written.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.queue.try_send(Told::Line(line.to_vec())).is_err() {
            self.0.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// A reader that reads only while it is not locked.
    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<Vec<u8>>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_loses_lines_and_holds_nobody_up() {
        let reader = Reader::default();
        let outlet = Outlet::to(reader.clone()).unwrap();
        let stalled = reader.0.lock();
        for _ in 0..LINES_MAX + 100 {
            outlet.make_writer().write_all(b"line\n").unwrap();
        }
        assert!(outlet.lost.load(Relaxed) >= 99);
        drop(stalled);
        while outlet.lost.load(Relaxed) > 0 {
            std::thread::yield_now();
        }
        outlet.flush();
        let text = reader.0.lock().clone();
        assert!(text.len() >= LINES_MAX * b"line\n".len());
    }
}
