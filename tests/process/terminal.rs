//! Tests of the commands that fill a terminal: util-linux's `script` gives them one.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::gateway::{Conf, Gateway};
use crate::support::nodes::node;
use crate::support::process::BINARY;
use crate::support::{ports, until};

/// A command on a terminal of its own, which is written into a file.
struct OnTerminal {
    terminal: Child,
    folder: tempfile::TempDir,
}

impl OnTerminal {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pid = folder.path().join("pid");
        let command =
            format!("stty cols 100 rows 30; echo $$ > {}; exec {BINARY} {}", pid.display(), args.join(" "));
        let mut script = Command::new("script");
        script.args(["-qefc", &command]).arg(folder.path().join("screen")).env("TERM", "xterm");
        // its standard input stays open: an end would be passed on as Ctrl-D
        let terminal = script.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        Self { terminal: terminal.expect("script, of util-linux"), folder }
    }

    fn shows(&self, text: &str) -> bool {
        let screen = fs::read(self.folder.path().join("screen")).unwrap_or_default();
        String::from_utf8_lossy(&screen).contains(text)
    }

    /// The command has ended, whether somebody has taken note of that or not.
    fn has_ended(&self) -> bool {
        let pid = fs::read_to_string(self.folder.path().join("pid")).expect("it has begun");
        let stat = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
        stat.map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
    }

    /// The terminal goes away, as a window that is closed.
    fn close(&mut self) {
        self.terminal.kill().expect("it is our child");
        self.terminal.wait().expect("it is our child");
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.terminal.kill();
        let _ = self.terminal.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_and_demo_end_with_their_terminal() {
    let a = node("a", Duration::ZERO);
    let gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let (admin, listen) = (gateway.conf.admin.to_string(), ports::free().to_string());
    for (args, text) in [(["top", &admin, ""], "nodes: 1"), (["demo", "--listen", &listen], "in flight")] {
        let mut command = OnTerminal::start(&args);
        until("it is on the screen", || command.shows(text)).await;
        assert!(!command.has_ended(), "{args:?}");
        command.close();
        until("it ends", || command.has_ended()).await;
    }
}
