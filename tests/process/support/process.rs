//! A child process whose output is kept, and which is killed by its own id when dropped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::LIMIT;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_evenkeel");

pub(crate) struct Process {
    child: Child,
    out: Text,
    err: Text,
    readers: Vec<thread::JoinHandle<()>>,
    /// Standard error, as long as nobody reads it.
    unread: Option<ChildStderr>,
}

/// The output of a stream so far.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<String>>);

impl Text {
    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn follow(&self, stream: impl Read + Send + 'static) -> thread::JoinHandle<()> {
        let text = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut all = text.0.lock().unwrap_or_else(PoisonError::into_inner);
                all.push_str(&line);
                all.push('\n');
            }
        })
    }
}

impl Process {
    /// Starts the binary under test.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(Command::new(BINARY).args(args))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut process = Self::spawn_unread(command);
        process.read_stderr();
        process
    }

    /// The same, with nobody who reads standard error.
    pub(crate) fn spawn_unread(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let (out, err) = (Text::default(), Text::default());
        let readers = vec![out.follow(child.stdout.take().expect("piped"))];
        let unread = child.stderr.take();
        Self { child, out, err, readers, unread }
    }

    /// Begins to read standard error.
    pub(crate) fn read_stderr(&mut self) {
        let unread = self.unread.take().expect("nobody reads it");
        self.readers.push(self.err.follow(unread));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Kills the process (kill -9) and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    pub(crate) fn stdout(&self) -> String {
        self.out.get()
    }

    pub(crate) fn stderr(&self) -> String {
        self.err.get()
    }

    /// The exit status, if the process has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Waits for the end of the process and of its output.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.wait_within(LIMIT)
    }

    pub(crate) fn wait_within(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            assert!(Instant::now() < end, "still runs after {limit:?}:\n{}", self.stderr());
            thread::sleep(Duration::from_millis(2));
        };
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        status
    }

    /// Runs the binary to its end. Returns exit code, standard output and standard error.
    pub(crate) fn output(args: &[&str]) -> (i32, String, String) {
        let mut process = Self::start(args);
        let status = process.wait();
        (status.code().unwrap_or(-1), process.stdout(), process.stderr())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- stderr of process {}\n{}", self.pid(), self.stderr());
        }
    }
}
