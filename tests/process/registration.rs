//! Nodes that register themselves by conf/register.sh: real processes, as a job starts them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::support::client::{Client, chat};
use crate::support::gateway::{Conf, Gateway};
use crate::support::load::{Connection, Load, Plan};
use crate::support::nodes::node;
use crate::support::process::{BINARY, Process};
use crate::support::{ports, until};

/// The lines that the README has, in a script around them.
const SCRIPT: &str = include_str!("../../conf/register.sh");
const EVERY: &str = "sleep 10 &";
/// One request at a time and client, not streaming.
const PLAN: Plan = Plan {
    clients: 32,
    tokens: 20,
    pause: Duration::ZERO,
    stream: Some(false),
    connection: Connection::Kept,
};

/// The script with a `vllm` that is a simulated node.
struct Job {
    script: Process,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Job {
    /// `change`: what a test has otherwise than the script.
    fn start(gateway: &Gateway, shell: &str, change: impl Fn(&str) -> String) -> Self {
        let (directory, address) = (tempfile::tempdir().expect("a directory"), ports::free());
        let path = |name: &str| directory.path().join(name);
        let vllm = format!(
            "#!/bin/sh\n[ \"$*\" = \"serve Qwen/Qwen3-8B --port {port}\" ] || exit 9\necho $$ > {pid}\n\
             exec {BINARY} node --listen 127.0.0.1:{port} --step-base 10ms --step-per-seq 0 --max-seqs 4096\n",
            port = address.port(),
            pid = path("pid").display(),
        );
        fs::write(path("vllm"), vllm).expect("a file");
        fs::set_permissions(path("vllm"), fs::Permissions::from_mode(0o755)).expect("its owner");
        assert!(SCRIPT.contains("8000") && SCRIPT.contains(EVERY), "{SCRIPT}");
        let text = SCRIPT.replace("8000", &address.port().to_string()).replace(EVERY, "sleep 0.2 &");
        fs::write(path("register.sh"), change(&text)).expect("a file");
        let search = format!("{}:{}", directory.path().display(), std::env::var("PATH").expect("a path"));
        let mut command = Command::new(shell);
        let command = command.arg(path("register.sh")).current_dir(directory.path());
        let command = command.env("PATH", search).env("EVENKEEL", format!("http://{}", gateway.conf.admin));
        Self { script: Process::spawn(command), address, directory }
    }

    fn node(&self) -> Option<Pid> {
        Pid::from_raw(fs::read_to_string(self.directory.path().join("pid")).ok()?.trim().parse().ok()?)
    }

    fn name(&self) -> String {
        self.address.to_string()
    }

    /// As a machine that is gone.
    fn kill(&mut self) {
        self.script.kill();
        kill_process(self.node().expect("its pid"), Signal::KILL).expect("the node is there");
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(pid) = self.node() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn conf(nodes: &[SocketAddr], state: &Path) -> Conf {
    Conf::new(nodes)
        .server(&format!("state: {}", state.display()))
        .pool("sources: [{ registration: on }]")
        .pool("health: { check: { path: /health, interval: 200ms } }")
}

fn state_of(status: &Value, name: &str) -> Option<String> {
    let nodes = status["pools"][0]["nodes"].as_array()?;
    let node = nodes.iter().find(|node| node["name"] == name)?;
    node["state"].as_str().map(str::to_owned)
}

async fn is_up(gateway: &Gateway, name: &str) {
    gateway.until_status("it is up", |status| state_of(status, name).as_deref() == Some("up")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_registers_its_node_and_sigterm_lets_it_leave() {
    for shell in ["dash", "bash"] {
        let (directory, a) =
            (tempfile::tempdir().expect("a directory"), node("a", Duration::from_millis(10)));
        let gateway = Gateway::start(conf(&[a.addr()], directory.path())).await;
        let mut job = Job::start(&gateway, shell, str::to_owned);
        let name = job.name();
        is_up(&gateway, &name).await;
        let load = Load::start(gateway.address(), PLAN);
        let has_work = |status: &Value| status["pools"][0]["nodes"][1]["attempts"]["ok"].as_u64() > Some(10);
        gateway.until_status("it serves", has_work).await;
        job.script.signal(Signal::TERM);
        gateway.until_status("it is gone", |status| state_of(status, &name).is_none()).await;
        job.script.wait();
        let pid = job.node().expect("its pid");
        assert!(test_kill_process(pid).is_err(), "the node has stopped too");
        let (done, failures) = load.finish().await;
        assert!(failures.is_empty(), "{} of {done}: {failures:?}", failures.len());
        gateway.until_logged(&format!("node {name}: leaves: it has ended its lease")).await;
        assert!(!gateway.process.stderr().contains("ejected"), "{}", gateway.process.stderr());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_with_its_script_loses_its_lease_and_no_request_fails() {
    let (directory, a) = (tempfile::tempdir().expect("a directory"), node("a", Duration::from_millis(10)));
    let gateway = Gateway::start(conf(&[a.addr()], directory.path())).await;
    let mut job = Job::start(&gateway, "sh", |text| text.replace("me='{", "me='{\"ttl\": \"2s\", "));
    let name = job.name();
    is_up(&gateway, &name).await;
    let load = Load::start(gateway.address(), PLAN);
    let has_work = |status: &Value| status["pools"][0]["nodes"][1]["in_flight"].as_u64() > Some(3);
    gateway.until_status("it has requests", has_work).await;
    job.kill();
    gateway.until_logged(&format!("node {name}: its lease has ended: it was not renewed within 2s")).await;
    gateway.until_status("it is gone", |status| state_of(status, &name).is_none()).await;
    let (done, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {done}: {failures:?}", failures.len());
    assert!(done > 100, "{done}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_process_ends_by_itself_is_deregistered() {
    let (directory, a) = (tempfile::tempdir().expect("a directory"), node("a", Duration::from_millis(10)));
    let gateway = Gateway::start(conf(&[a.addr()], directory.path())).await;
    let mut job = Job::start(&gateway, "sh", str::to_owned);
    let name = job.name();
    is_up(&gateway, &name).await;
    kill_process(job.node().expect("its pid"), Signal::KILL).expect("the node is there");
    job.script.wait();
    gateway.until_status("it is gone", |status| state_of(status, &name).is_none()).await;
    gateway.until_logged(&format!("node {name}: leaves: it has ended its lease")).await;
}

/// One registration by hand, and no second one.
fn register(gateway: &Gateway, more: &[&str], body: &str) -> String {
    let url = format!("http://{}/api/nodes", gateway.conf.admin);
    let mut command = Command::new("curl");
    let output = command.args(["-sS", &url, "-d", body]).args(more).output().expect("curl");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_outlives_the_gateway_and_a_broken_file_is_said() {
    let (directory, a) = (tempfile::tempdir().expect("a directory"), node("a", Duration::ZERO));
    let conf = conf(&[ports::free()], directory.path());
    let mut gateway = Gateway::start(conf.clone()).await;
    let body = format!(r#"{{"address": "{}", "name": "kept", "ttl": "1h"}}"#, a.addr());
    assert!(register(&gateway, &[], &body).contains("\"new\""));
    is_up(&gateway, "kept").await;
    let file = directory.path().join("leases.json");
    until("it is written", || fs::read_to_string(&file).is_ok_and(|text| text.contains("kept"))).await;
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    gateway.process.kill();
    let mut gateway = Gateway::start(conf.clone()).await;
    let answer = Client::new(gateway.address()).ask(&chat(1, false)).await.expect("an answer");
    assert_eq!(answer.head.field("x-evenkeel-node"), Some("kept"));
    gateway.until_logged("1 of 1 leases go on").await;
    gateway.process.kill();
    fs::write(&file, "{").expect("a file");
    let gateway = Gateway::start(conf).await;
    gateway.until_logged("leases.json: cannot be read: it is not JSON").await;
    assert!(directory.path().join("leases.json.broken").exists());
    assert_eq!(state_of(&gateway.status().await.expect("a status"), "kept"), None);
    assert!(register(&gateway, &[], &body).contains("\"new\""), "it begins anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_keeps_leases_in_both_processes() {
    let (directory, a) = (tempfile::tempdir().expect("a directory"), node("a", Duration::from_millis(20)));
    let gateway = Gateway::start(conf(&[ports::free()], directory.path())).await;
    let body = format!(r#"{{"address": "{}", "name": "kept", "ttl": "2s"}}"#, a.addr());
    register(&gateway, &[], &body);
    is_up(&gateway, "kept").await;
    let mut stream = Client::new(gateway.address());
    stream.begin(&chat(200, true)).await.expect("a stream");
    let new = gateway.successor();
    until("the new process waits for the sockets", || gateway.file("upgrade.sock").exists()).await;
    gateway.process.signal(Signal::QUIT);
    let pid = new.pid();
    gateway.until_status("the new process answers", |status| status["pid"] == pid).await;
    is_up(&gateway, "kept").await;
    until("its lease ends there, where it is not renewed", || new.stderr().contains("its lease has ended"))
        .await;
    assert!(stream.rest().await.expect("the rest").ends_with("data: [DONE]\n\n"));
    assert!(!gateway.process.stderr().contains("its lease has ended"), "{}", gateway.process.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_a_file_registers_and_is_in_no_log() {
    const TOKEN: &str = "register-token-0123456789abcdef-";
    let (directory, a) = (tempfile::tempdir().expect("a directory"), node("a", Duration::ZERO));
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("token"), TOKEN).expect("a file");
    fs::write(path("header"), format!("Authorization: Bearer {TOKEN}\n")).expect("a file");
    let conf = conf(&[ports::free()], directory.path());
    let admin = conf.admin;
    let text = conf.text().replace(
        &format!("  admin: {admin}\n"),
        &format!(
            "  admin: {{ address: \"{admin}\", tokens: [{{ role: register, file: {} }}] }}\n",
            path("token")
        ),
    );
    fs::write(path("gateway.yaml"), text).expect("a file");
    let gateway = Process::start(&["run", "-c", &path("gateway.yaml")]);
    until("it listens", || std::net::TcpStream::connect(admin).is_ok()).await;
    let url = format!("http://{admin}/api/nodes");
    let body = format!(r#"{{"address": "{}", "name": "held", "ttl": "1h"}}"#, a.addr());
    let header = format!("@{}", path("header"));
    for (more, want) in [
        (vec![], "a token of `server.admin.tokens` is needed"),
        (vec!["-H", &*header], "\"new\""),
        (vec!["-H", &*header, "-X", "DELETE"], "\"left\""),
    ] {
        let output =
            Command::new("curl").args(["-sS", &url, "-d", &body]).args(&more).output().expect("curl");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(want), "{more:?}: {said}");
    }
    until("it has left", || gateway.stderr().contains("node held: leaves")).await;
    assert!(!gateway.stderr().contains(&TOKEN[..14]), "{}", gateway.stderr());
    assert!(!gateway.stdout().contains(&TOKEN[..14]), "{}", gateway.stdout());
}
