//! Tests of the start: errors, command-line mistakes, and signals in the first moments.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::gateway::{Conf, Gateway};
use crate::support::process::{BINARY, Process};
use crate::support::{ports, until};

/// A config file in a directory of its own.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("gateway.yaml");
    fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("plain text").to_owned();
    (directory, path)
}

#[test]
fn a_port_in_use_is_named_with_its_key_and_line() {
    let conf = Conf::new(&[ports::free()]);
    let (_directory, path) = file(&format!("# {}\n{}", conf.listen, conf.text()));
    let _taken = [conf.listen, conf.admin].map(|address| TcpListener::bind(address).expect("a free port"));
    let (code, _, err) = Process::output(&["run", "-c", &path]);
    assert_eq!(code, 64, "{err}");
    let [listen, admin] = [conf.listen, conf.admin]
        .map(|address| format!("cannot listen on {address}: Address already in use"));
    assert!(err.contains(&format!("{path}:3: server.listen: {listen}")), "{err}");
    assert!(err.contains(&format!("{path}:4: server.admin: {admin}")), "{err}");
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn check_and_run_report_the_same_problems() {
    let text = "server:\n  listen: nowhere\n  treads: 2\npools:\n  sim:\n    nodes:\n      - { address: 127.0.0.1:1, weight: 0 }\n";
    let (_directory, path) = file(text);
    let [run, check] = ["run", "check"].map(|command| Process::output(&[command, "-c", &path]));
    assert_eq!(run, check);
    let (code, out, err) = run;
    assert_eq!((code, out.as_str()), (64, ""));
    for place in [":2: server.listen: ", ":3: server.treads: ", ":7: pools.sim.nodes[0].weight: "] {
        assert!(err.contains(&format!("{path}{place}")), "{place} is not in\n{err}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let (directory, path) = file("");
    for command in ["run", "check"] {
        let missing = format!("{path}.missing");
        let (code, _, err) = Process::output(&[command, "-c", &missing]);
        assert_eq!(code, 64);
        assert!(err.starts_with(&format!("{missing}: cannot be read: No such file")), "{err}");
        let (code, _, err) =
            Process::output(&[command, "-c", directory.path().to_str().expect("plain text")]);
        assert_eq!(code, 64);
        assert!(err.contains("cannot be read: Is a directory"), "{err}");
        let (code, _, err) = Process::output(&[command, "-c", &path]);
        assert_eq!(code, 64);
        assert!(err.contains("is empty"), "{err}");
    }
}

#[test]
fn a_file_without_permission_is_named() {
    // root can read everything, so the test needs another user
    let Ok(as_nobody) = Command::new("setpriv").args(["--reuid=65534", "--", "true"]).status() else {
        return;
    };
    if !as_nobody.success() {
        return;
    }
    let directory = tempfile::Builder::new().prefix("evenkeel").tempdir().expect("a directory");
    let binary = directory.path().join("evenkeel");
    // by a process of its own: a child that another test starts meanwhile would inherit this one's open file, and
    // a file that is open for writing cannot be executed (ETXTBSY)
    let copied = Command::new("cp").arg(BINARY).arg(&binary).status().expect("cp runs");
    assert!(copied.success(), "{copied}");
    let path = directory.path().join("gateway.yaml");
    fs::write(&path, "").expect("a file");
    let mode = |path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(path, mode).expect("it is ours");
    };
    mode(directory.path(), 0o755);
    mode(&path, 0o600);
    let mut process = Process::spawn(
        Command::new("setpriv").args(["--reuid=65534", "--"]).arg(&binary).args(["check", "-c"]).arg(&path),
    );
    assert_eq!(process.wait().code(), Some(64));
    assert!(process.stderr().contains("cannot be read: Permission denied"), "{}", process.stderr());
}

#[test]
fn an_access_log_that_cannot_be_opened_is_named() {
    let conf = Conf::new(&[ports::free()]).server("access_log: { path: /nowhere/access.log }");
    let (_directory, path) = file(&conf.text());
    let (code, _, err) = Process::output(&["run", "-c", &path]);
    assert_eq!(code, 64, "{err}");
    let why = "server.access_log.path: cannot open /nowhere/access.log: No such file";
    assert!(err.starts_with(&format!("{path}:5: {why}")), "{err}");
}

#[test]
fn help_and_mistakes_on_the_command_line() {
    let (code, out, _) = Process::output(&["--help"]);
    assert_eq!(code, 0);
    assert!(out.contains("Examples:") && out.contains("Exit codes:"), "{out}");
    for command in ["run", "check", "node", "demo"] {
        assert!(out.contains(&format!("\n  {command} ")), "{out}");
        let (code, out, _) = Process::output(&[command, "--help"]);
        assert!(code == 0 && out.contains("Usage:") && out.contains("Exit codes:"), "{out}");
    }
    let (code, out, _) = Process::output(&["--version"]);
    assert_eq!((code, out.as_str()), (0, concat!("evenkeel ", env!("CARGO_PKG_VERSION"), "\n")));
    for wrong in [&[][..], &["rnu"], &["run", "--confg", "x"]] {
        let (code, out, err) = Process::output(wrong);
        assert!(code == 2 && out.is_empty() && err.contains("Usage:"), "{wrong:?}: {code} {err}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_can_connect_once_the_admin_address_answers() {
    for _ in 0..10 {
        let gateway = Gateway::start(Conf::new(&[ports::free()])).await;
        tokio::net::TcpStream::connect(gateway.address()).await.expect("a connection");
    }
}

/// True once the process catches `signal`. Signals are registered one after another, so the one that a test
/// is going to send is the one to ask for.
fn catches(pid: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let bit = 1_u64 << (signal.as_raw() - 1);
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & bit != 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sighup_in_the_first_moments_is_survived() {
    let (mut caught, mut handled) = (Vec::new(), 0);
    for round in 0..20_u64 {
        let gateway =
            Gateway::spawn(Conf::new(&[ports::free()]), tempfile::tempdir().expect("a directory"), &[]);
        let spawned = Instant::now();
        while !catches(gateway.process.pid(), Signal::HUP) {
            assert!(spawned.elapsed() < crate::support::LIMIT, "{}", gateway.process.stderr());
            std::hint::spin_loop();
        }
        caught.push(spawned.elapsed());
        // spread over the start-up: at once, and up to some milliseconds later
        let later = Instant::now() + Duration::from_micros(round * round * 50);
        while Instant::now() < later {
            std::hint::spin_loop();
        }
        gateway.process.signal(Signal::HUP);
        gateway.until_status("it serves", |_| true).await;
        let reloaded = gateway.until_status("reloaded", |status| status["config_generation"] == 2);
        handled += usize::from(tokio::time::timeout(Duration::from_secs(2), reloaded).await.is_ok());
    }
    // A signal within the microseconds of the registration is lost, which is harmless: the file is read only afterwards.
    assert!(handled >= 15, "only {handled} of 20 were handled");
    caught.sort();
    println!("SIGHUP is caught {:?} after the start (median), {:?} at the latest", caught[10], caught[19]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_in_the_first_moments_is_a_clean_stop() {
    for _ in 0..3 {
        let mut gateway =
            Gateway::spawn(Conf::new(&[ports::free()]), tempfile::tempdir().expect("a directory"), &[]);
        let pid = gateway.process.pid();
        until("SIGTERM is caught", || catches(pid, Signal::TERM)).await;
        let (code, took) = gateway.stop(Signal::TERM);
        assert_eq!(code, Some(0), "{}", gateway.process.stderr());
        println!("stopped {took:?} after a SIGTERM in the first moments");
    }
}
