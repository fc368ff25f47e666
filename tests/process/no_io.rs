//! A request's way opens no file and asks no name server: keys, certificates, tokens and nodes' credentials are in memory.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::nodes::node;
use crate::support::process::Process;
use crate::support::{ports, until};

/// System calls that open, look for or flush files, and two that show that the threads of requests are watched.
const CALLS: &str = "trace=%file,fsync,fdatasync,flock,getdents64,connect,accept4";
/// Threads that may: the watch of files, and the resolver of nodes' names.
const MAY: [&str; 2] = ["BG files", "BG names"];
const KEY: &str = "ek-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

/// Without strace the test says so and passes; a build server has it.
fn is_missing() -> bool {
    let is_here = Command::new("strace").arg("-V").output().is_ok() || std::env::var_os("CI").is_some();
    if !is_here {
        eprintln!("no strace here: apt-get install strace");
    }
    !is_here
}

/// The files of a gateway with TLS, keys and a key for its node.
fn written(
    directory: &Path,
    node: SocketAddr,
    listen: SocketAddr,
) -> (String, rcgen::CertifiedKey<rcgen::KeyPair>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let path = |name: &str| directory.join(name).display().to_string();
    fs::write(path("cert.pem"), made.cert.pem()).expect("a file");
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).expect("a file");
    fs::write(path("node.key"), "the-nodes-own-key").expect("a file");
    let hash: String = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    let limits =
        "models: [\"*\"], max_in_flight: 64, requests_per_minute: 100000, tokens_per_minute: 1000000";
    fs::write(path("keys.yaml"), format!("keys: [{{ name: a, hash: \"sha256:{hash}\", {limits} }}]\n"))
        .expect("a file");
    let text = format!(
        "server:\n  listen: {{ address: \"{listen}\", tls: {{ cert: {}, key: {} }} }}\n  admin: off\n  threads: 2\n  \
         api_keys: {{ file: {} }}\n  access_log: {{ path: {} }}\npools:\n  sim: {{ nodes: [\"{node}\"], authorization: {{ file: {} }}, \
         health: {{ check: off }} }}\n",
        path("cert.pem"),
        path("key.pem"),
        path("keys.yaml"),
        path("access.log"),
        path("node.key")
    );
    fs::write(path("gateway.yaml"), text).expect("a file");
    (path("gateway.yaml"), made)
}

/// The status of a request with this key, on a connection of its own.
async fn ask(to: SocketAddr, config: &Arc<ClientConfig>, key: &str, model: &str) -> String {
    let stream = TcpStream::connect(to).await.expect("it listens");
    let connector = TlsConnector::from(Arc::clone(config));
    let mut stream = connector.connect(ServerName::from(to.ip()), stream).await.expect("a handshake");
    let body = format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}],"max_tokens":2,"stream":true}}"#
    );
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
    );
    stream
        .write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// The calls of each thread that may make none.
fn forbidden(trace: &str, names: &BTreeMap<String, String>, node: SocketAddr) -> Vec<String> {
    let to_node = format!("sin_port=htons({})", node.port());
    let calls = trace.lines().filter_map(|line| {
        let (thread, call) = line.split_once(' ')?;
        let name = names.get(thread).map_or("a thread that has ended", String::as_str);
        let call = call.trim_start();
        let is_known =
            call.starts_with("accept4(") || call.starts_with("connect(") && call.contains(&to_node);
        let is_part = call.starts_with("<...") || call.starts_with("+++") || call.starts_with("---");
        (!MAY.contains(&name) && !is_known && !is_part).then(|| format!("{name}: {call}"))
    });
    calls.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_opens_no_file_and_asks_no_name_server() {
    if is_missing() {
        return;
    }
    let (directory, a) = (tempfile::tempdir().expect("a directory"), node("a", Duration::ZERO));
    let listen = ports::free();
    let (file, made) = written(directory.path(), a.addr(), listen);
    let gateway = Process::start(&["run", "-c", &file]);
    until("it listens", || std::net::TcpStream::connect(listen).is_ok()).await;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = Arc::new(config.expect("versions").with_root_certificates(roots).with_no_client_auth());
    // whatever is read once has been read
    assert_eq!(ask(listen, &config, KEY, "sim").await, "200");
    let trace = directory.path().join("trace");
    let (pid, out) = (gateway.pid().to_string(), trace.display().to_string());
    let mut strace = Command::new("strace")
        .args(["-f", "-q", "-e", CALLS, "-o", &out, "-p", &pid])
        .spawn()
        .expect("strace starts");
    let tracer = || fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    until("it is watched", || !tracer().contains("TracerPid:\t0\n")).await;
    for round in 0..50 {
        for (key, model, want) in [(KEY, "sim", "200"), ("ek-unknown", "sim", "401")] {
            assert_eq!(ask(listen, &config, key, model).await, want, "round {round}");
        }
    }
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let name =
        |thread: &str| fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm")).unwrap_or_default();
    let threads = threads.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: BTreeMap<_, _> =
        threads.map(|thread| (thread.clone(), name(&thread).trim().to_owned())).collect();
    rustix::process::kill_process(rustix::process::Pid::from_child(&strace), rustix::process::Signal::INT)
        .expect("it runs");
    strace.wait().expect("its end");
    let trace = fs::read_to_string(trace).expect("a trace");
    let accepted =
        trace.lines().filter(|line| line.contains("accept4(") && line.contains("sin_port")).count();
    assert!(accepted >= 90, "{accepted} connections of 100 were seen:\n{trace}");
    let calls = forbidden(&trace, &names, a.addr());
    assert!(calls.is_empty(), "{}", calls.join("\n"));
}
