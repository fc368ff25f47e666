//! Tests of the notes to a service manager (sd_notify), with a socket in its place: ready, reload, stop, signs of life, and the upgrade
//! that SIGUSR2 asks for; and of the sockets that it passes.

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::client::{Client, chat};
use crate::support::gateway::{Conf, Gateway};
use crate::support::load::{Connection, Load, Plan};
use crate::support::nodes::node;
use crate::support::process::{BINARY, Process};
use crate::support::{ports, until};

/// A manager that keeps all notes.
struct Manager {
    socket: String,
    notes: Arc<Mutex<Vec<String>>>,
    _directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let notes = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&notes);
        thread::spawn(move || {
            let mut note = [0; 4096];
            while let Ok(length) = socket.recv(&mut note) {
                kept.lock().expect("no panic").push(String::from_utf8_lossy(&note[..length]).into_owned());
            }
        });
        let socket = path.to_str().expect("plain text").to_owned();
        Self { socket, notes, _directory: directory }
    }

    fn notes(&self) -> Vec<String> {
        self.notes.lock().expect("no panic").clone()
    }

    /// The notes so far with this field.
    fn count(&self, field: &str) -> usize {
        self.notes().iter().filter(|note| note.lines().any(|line| line == field)).count()
    }

    /// Waits for a note with all of these, each a field or the beginning of one.
    async fn until_told(&self, fields: &[&str]) {
        let has = |note: &String| fields.iter().all(|field| note.lines().any(|line| line.starts_with(field)));
        until(&format!("{fields:?}"), || self.notes().iter().any(has)).await;
    }
}

/// A process that is nobody's child, killed in the end.
struct Orphan(i32);

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

async fn start(conf: Conf, manager: &Manager, more: &[(&str, &str)]) -> Gateway {
    let environment: Vec<_> =
        [("NOTIFY_SOCKET", manager.socket.as_str())].iter().chain(more).copied().collect();
    Gateway::start_with(conf, &[], &environment).await
}

#[test]
fn ready_means_that_all_addresses_accept() {
    let manager = Manager::new();
    let conf = Conf::new(&[ports::free()]);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("gateway.yaml");
    std::fs::write(&path, conf.text()).expect("a file");
    let mut gateway = Process::spawn(
        Command::new(BINARY).args(["run", "-c"]).arg(&path).env("NOTIFY_SOCKET", &manager.socket),
    );
    let end = Instant::now() + crate::support::LIMIT;
    while manager.count("READY=1") == 0 {
        assert!(
            Instant::now() < end && gateway.ended().is_none(),
            "{:?} {}",
            manager.notes(),
            gateway.stderr()
        );
        thread::yield_now();
    }
    for address in [conf.listen, conf.admin] {
        TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    }
    let expected =
        format!("MAINPID={}\nREADY=1\nSTATUS=generation 1: 1 pool, 1 of 1 node up\n", gateway.pid());
    assert_eq!(manager.notes(), [expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_told_from_its_beginning_to_its_end_and_a_refusal_with_its_reason() {
    let (manager, a) = (Manager::new(), node("a", Duration::ZERO));
    let gateway = start(Conf::new(&[a.addr()]), &manager, &[]).await;
    manager.until_told(&["READY=1"]).await;
    gateway.reload(&gateway.conf).await;
    manager.until_told(&["READY=1", "STATUS=generation 2: "]).await;
    gateway.write(&gateway.conf.text().replace("threads: 2", "threads: none"));
    gateway.process.signal(Signal::HUP);
    let file = gateway.file("gateway.yaml");
    let reason =
        format!("STATUS=reload refused, generation 2 stays in use: {}:4: server.threads: ", file.display());
    manager.until_told(&["READY=1", &reason]).await;
    gateway.reload(&gateway.conf).await;
    manager.until_told(&["READY=1", "STATUS=generation 3: "]).await;
    let notes = manager.notes();
    let begun = |note: &&String| note.starts_with("RELOADING=1\nMONOTONIC_USEC=");
    assert_eq!(notes.iter().filter(begun).count(), 3, "{notes:#?}");
    let firsts: Vec<_> =
        notes.iter().filter_map(|note| note.lines().find(|line| line.ends_with("=1"))).collect();
    let round = ["RELOADING=1", "READY=1"];
    assert_eq!(firsts, [&["READY=1"][..], &round, &round, &round].concat(), "{notes:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_of_status_follows_the_fleet_and_a_stop_is_told() {
    let (manager, a) = (Manager::new(), node("a", Duration::from_millis(100)));
    let conf =
        Conf::new(&[a.addr(), ports::free()]).server("drain_timeout: 90m").pool("health: { max_fails: 1 }");
    let mut gateway = start(conf, &manager, &[]).await;
    manager.until_told(&["READY=1", "STATUS=generation 1: 1 pool, 2 of 2 nodes up"]).await;
    for _ in 0..4 {
        Client::new(gateway.address()).ask(&chat(1, false)).await.expect("an answer");
    }
    manager.until_told(&["STATUS=generation 1: 1 pool, 1 of 2 nodes up"]).await;
    let mut client = Client::new(gateway.address());
    client.begin(&chat(10, true)).await.expect("a head");
    gateway.process.signal(Signal::TERM);
    manager.until_told(&["STOPPING=1", "STATUS=stopping: 1 request in flight"]).await;
    // longer than any limit of a unit that its operator has not thought of
    manager.until_told(&[&format!("EXTEND_TIMEOUT_USEC={}", (90 * 60 + 30) * 1_000_000_u64)]).await;
    client.rest().await.expect("the rest");
    assert_eq!(gateway.process.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signs_of_life_come_in_time_and_only_from_a_gateway_that_lives() {
    const LIMIT: Duration = Duration::from_millis(1000);
    let (manager, a) = (Manager::new(), node("a", Duration::ZERO));
    let usec = LIMIT.as_micros().to_string();
    let gateway = start(Conf::new(&[a.addr()]), &manager, &[("WATCHDOG_USEC", &usec)]).await;
    let signs = || manager.count("WATCHDOG=1");
    until("signs of life", || signs() >= 3).await;
    gateway.process.signal(Signal::STOP);
    // the time in which those that were on their way have come, and for a sign that must not come
    tokio::time::sleep(LIMIT / 4).await;
    let before = signs();
    tokio::time::sleep(LIMIT * 2).await;
    assert_eq!(signs(), before, "a process that is stopped gave a sign of life");
    gateway.process.signal(Signal::CONT);
    until("signs of life again", || signs() >= before + 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watchdog_of_another_process_gets_nothing() {
    let (manager, a) = (Manager::new(), node("a", Duration::ZERO));
    let more = [("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let gateway = start(Conf::new(&[a.addr()]), &manager, &more).await;
    gateway.reload(&gateway.conf).await;
    manager.until_told(&["READY=1", "STATUS=generation 2: "]).await;
    assert_eq!(manager.count("WATCHDOG=1"), 0, "{:?}", manager.notes());
}

/// Copies the binary by a process of its own: a child that another test starts meanwhile would inherit the open file, and a file that is open
/// for writing cannot be executed (ETXTBSY).
fn copy_binary(to: &Path) {
    let copied = Command::new("cp").arg(BINARY).arg(to).status().expect("cp runs");
    assert!(copied.success(), "{copied}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigusr2_puts_a_new_binary_in_the_place_of_the_old_one_and_the_manager_follows() {
    let (manager, a) = (Manager::new(), node("a", Duration::from_millis(20)));
    let folder = tempfile::tempdir().expect("a directory");
    let [binary, new] = ["evenkeel", "new"].map(|name| folder.path().join(name));
    copy_binary(&binary);
    let environment = [("NOTIFY_SOCKET", manager.socket.as_str()), ("WATCHDOG_USEC", "1000000")];
    let mut gateway = Gateway::start_binary(&binary, Conf::new(&[a.addr()]), &environment).await;
    let old = gateway.process.pid();
    manager.until_told(&[&format!("MAINPID={old}"), "READY=1"]).await;
    // as a package manager replaces a file
    copy_binary(&new);
    std::fs::rename(&new, &binary).expect("the same folder");
    let plan =
        Plan { clients: 8, tokens: 1, pause: Duration::ZERO, stream: None, connection: Connection::Kept };
    let fresh = Plan { connection: Connection::Fresh, ..plan };
    let loads = [plan, fresh].map(|plan| Load::start(gateway.address(), plan));
    until("they have begun", || loads.iter().all(|load| load.done() > 16)).await;

    gateway.process.signal(Signal::USR2);
    let status = gateway.until_status("another process answers", |status| status["pid"] != old).await;
    let pid = i32::try_from(status["pid"].as_i64().expect("a number")).expect("a process");
    let _new = Orphan(pid);
    manager.until_told(&[&format!("MAINPID={pid}"), "READY=1", "STATUS=generation 1: "]).await;
    assert_eq!(
        std::fs::read_link(format!("/proc/{pid}/exe")).expect("it runs"),
        binary,
        "the file as it is now"
    );
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    assert_ne!(
        stat.split(' ').nth(3),
        Some(old.to_string().as_str()),
        "a manager hears of no other's children"
    );
    until("the old process ends", || gateway.process.ended().is_some()).await;
    let before = (loads.each_ref().map(Load::done), manager.count("WATCHDOG=1"));
    until("they go on", || loads.iter().zip(before.0).all(|(load, before)| load.done() > before + 16)).await;
    until("the new process gives signs of life", || manager.count("WATCHDOG=1") > before.1 + 1).await;
    for load in loads {
        let (done, failures) = load.finish().await;
        assert!(failures.is_empty(), "{} of {done}: {:?}", failures.len(), &failures[..1]);
    }
    assert_eq!(manager.count("STOPPING=1"), 0, "to the manager nothing stops: {:#?}", manager.notes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigusr2_whose_new_process_does_not_come_changes_nothing() {
    let (manager, a) = (Manager::new(), node("a", Duration::ZERO));
    let mut gateway = start(Conf::new(&[a.addr()]), &manager, &[]).await;
    gateway.write("server: {");
    gateway.process.signal(Signal::USR2);
    gateway.until_logged("SIGUSR2 hands over to a new process, but none is waiting at ").await;
    gateway.write(&gateway.conf.text());
    let answer = Client::new(gateway.address()).ask(&chat(1, false)).await.expect("an answer");
    assert_eq!(answer.head.status, 200);
    gateway.reload(&gateway.conf).await;
    manager.until_told(&["READY=1", "STATUS=generation 2: "]).await;
    assert_eq!(gateway.stop(Signal::TERM).0, Some(0), "{}", gateway.process.stderr());
}

/// Opens a socket for each address, as a manager does, and becomes the gateway.
const PASS: &str = "\
import os, socket, sys
count = int(sys.argv[1])
sockets = [socket.create_server((host, int(port))) for host, port in (a.rsplit(':', 1) for a in sys.argv[2:2 + count])]
for number, one in enumerate(sockets, 3):
    os.dup2(one.fileno(), number)
    os.set_inheritable(number, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count))
os.execv(sys.argv[2 + count], sys.argv[2 + count:])";

fn passed(addresses: &[std::net::SocketAddr], config: &Path, manager: &Manager) -> Process {
    let mut command = Command::new("python3");
    command.args(["-c", PASS, &addresses.len().to_string()]).args(addresses.iter().map(ToString::to_string));
    command.arg(BINARY).args(["run", "-c"]).arg(config);
    command.args(["--upgrade-sock"]).arg(config.with_file_name("upgrade.sock"));
    Process::spawn(command.env("NOTIFY_SOCKET", &manager.socket))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_the_manager_are_used_and_handed_on() {
    let (manager, a) = (Manager::new(), node("a", Duration::ZERO));
    let conf = Conf::new(&[a.addr()]);
    let folder = tempfile::tempdir().expect("a directory");
    let config = folder.path().join("gateway.yaml");
    std::fs::write(&config, conf.text()).expect("a file");
    let mut gateway = passed(&[conf.listen, conf.admin], &config, &manager);
    manager.until_told(&["READY=1"]).await;
    let inode = |pid: &str| std::fs::read_link(format!("/proc/{pid}/fd/3")).expect("the first one passed");
    assert!(inode(&gateway.pid().to_string()).to_string_lossy().starts_with("socket:"));
    for address in [conf.listen, conf.listen] {
        let answer = Client::new(address).ask(&chat(1, false)).await.expect("an answer");
        assert_eq!(answer.head.status, 200);
    }
    gateway.signal(Signal::USR2);
    until("another process is the main one", || manager.count("READY=1") == 2).await;
    let notes = manager.notes();
    let last = notes
        .iter()
        .filter_map(|note| note.lines().find_map(|line| line.strip_prefix("MAINPID=")))
        .next_back();
    let _new = Orphan(last.expect("a process").parse().expect("a number"));
    until("the old process ends", || gateway.ended().is_some()).await;
    let answer = Client::new(conf.listen).ask(&chat(1, false)).await.expect("an answer");
    assert_eq!(answer.head.status, 200);
}

#[test]
fn a_socket_of_the_manager_that_the_config_does_not_name_is_a_problem() {
    let manager = Manager::new();
    let conf = Conf::new(&[ports::free()]);
    let folder = tempfile::tempdir().expect("a directory");
    let config = folder.path().join("gateway.yaml");
    std::fs::write(&config, conf.text()).expect("a file");
    let other = ports::free();
    let mut gateway = passed(&[other], &config, &manager);
    assert_eq!(gateway.wait().code(), Some(64), "{}", gateway.stderr());
    let problem = format!(
        "{}:2: server.listen: the service manager passes a socket that listens on {other}, ",
        config.display()
    );
    assert!(gateway.stderr().contains(&problem), "{}", gateway.stderr());
    assert!(manager.notes().is_empty(), "{:?}", manager.notes());
}
