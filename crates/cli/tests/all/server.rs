//! A server of its own for a test, and processes that are waited for with a bound.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The program.
pub(crate) const TENURE: &str = env!("CARGO_BIN_EXE_tenure");
/// No step of a test takes longer, or it has failed.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(30);

/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(5);

/// A server in a directory of its own.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
    pub(crate) home: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), "127.0.0.1:0", &[])
    }

    /// With a self-signed certificate for this name.
    pub(crate) fn start_with_certificate(name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (certificate, key) = (home.path().join("server.crt"), home.path().join("server.key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let flags = ["--tls-cert", "server.crt", "--tls-key", "server.key"];
        Self::start_in(home, "127.0.0.1:0", &flags)
    }

    fn start_in(home: tempfile::TempDir, listen: &str, flags: &[&str]) -> Self {
        let (process, url) = launch(home.path(), listen, flags);
        Server { process, url, home }
    }

    /// Kills it and starts another one on its data, where it was.
    pub(crate) fn kill_and_start_again(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let address = self.url.strip_prefix("http://").unwrap().to_owned();
        (self.process, self.url) = launch(self.home.path(), &address, &[]);
    }

    /// The program, told where the server is and with its key.
    pub(crate) fn tenure<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = self.program(TENURE);
        command.args(arguments);
        command
    }

    /// Any program with the same environment, and `tenure` on its path.
    pub(crate) fn program(&self, program: &str) -> Command {
        let mut command = clean(program, self.home.path());
        let directory = Path::new(TENURE).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        command
            .env("PATH", format!("{}:{path}", directory.display()))
            .env("TENURE_URL", &self.url)
            .env("TENURE_API_KEY_FILE", self.home.path().join("data/api-key"));
        command
    }

    /// What it prints, when it ends well.
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        let done = run(&mut self.tenure(arguments));
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.stderr);
        done.stdout
    }

    /// What it prints, as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let printed = self.says(&[&["--json"], arguments].concat());
        serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {printed}"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.process.id(), signal);
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Waits until the lock has so many waiters.
    pub(crate) fn await_waiters(&self, name: &str, waiters: usize) {
        eventually(&format!("{name} has {waiters} waiters"), || {
            self.json(&["why", name])["queue_length"] == waiters
        });
    }
}

/// Starts a server and waits until it says where it serves.
fn launch(home: &Path, listen: &str, flags: &[&str]) -> (Child, String) {
    let mut process = clean(TENURE, home)
        .args(["serve", "--listen", listen, "--data", "data"])
        .args(flags)
        .env("TENURE_CONFIG", empty_config(home))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let said = lines.find_map(|line| {
        let line = line.unwrap();
        line.split_once(" serving at ").map(|(_, url)| url.to_owned())
    });
    let url = said.expect("the server says where it serves");
    // It goes on saying things, and must not find the pipe closed.
    std::thread::spawn(move || lines.for_each(drop));
    (process, url)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn empty_config(home: &Path) -> PathBuf {
    let path = home.join("tenure.toml");
    std::fs::write(&path, "").unwrap();
    path
}

/// Without the settings of whoever runs the tests.
fn clean(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TENURE_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env("XDG_CONFIG_HOME", home).env("USER", "ann").current_dir(home);
    command
}

/// How a program ended.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end, without input.
pub(crate) fn run(command: &mut Command) -> Done {
    run_with_input(command, "")
}

/// Runs a program to its end.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Done {
    let mut process = Process::start(command);
    process.write(input);
    process.close_input();
    process.end()
}

/// A program under way.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = lines(child.stdout.take().unwrap());
        let errors = lines(child.stderr.take().unwrap());
        Process { child, input, lines: output, errors }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn write(&mut self, text: &str) {
        // A program that has ended already has no use for it.
        let _ = self.input.as_mut().unwrap().write_all(text.as_bytes());
    }

    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// The next line of its output.
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(STEP_MAX) {
            Ok(line) => line.trim_end().to_owned(),
            Err(RecvTimeoutError::Disconnected) => panic!("it ended before it said that"),
            Err(RecvTimeoutError::Timeout) => panic!("no line in time"),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.child.id(), signal);
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end, and reads the rest.
    pub(crate) fn end(mut self) -> Done {
        use std::os::unix::process::ExitStatusExt;
        let give_up = Instant::now() + STEP_MAX;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < give_up, "it did not end in time");
            std::thread::sleep(LOOK);
        };
        let stdout = rest(&self.lines, give_up);
        let stderr = rest(&self.errors, give_up);
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap());
        Done { code, stdout, stderr }
    }
}

/// What comes until the end.
fn rest(lines: &Receiver<String>, give_up: Instant) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
            Ok(line) => text += &line,
            Err(RecvTimeoutError::Disconnected) => return text,
            Err(RecvTimeoutError::Timeout) => panic!("something it left behind holds its output"),
        }
    }
}

/// Reads lines on a thread of its own, so that waiting for one has a bound.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (to, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = String::new();
        while from.read_line(&mut line).unwrap_or(0) > 0 {
            if to.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    lines
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + STEP_MAX;
    while !is_so() {
        assert!(Instant::now() < give_up, "never: {what}");
        std::thread::sleep(LOOK);
    }
}

/// Signals a process by its id.
pub(crate) fn kill(process: u32, signal: Signal) {
    kill_process(pid(process), signal).unwrap();
}

/// Whether the process runs. One that has ended and is not waited for does not.
pub(crate) fn runs(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let dead = stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']));
    !dead && test_kill_process(pid(process)).is_ok()
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).unwrap()).unwrap()
}

/// The processes whose parent this is.
pub(crate) fn children(of: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children"));
    listed.unwrap().split_whitespace().map(|id| id.parse().unwrap()).collect()
}
