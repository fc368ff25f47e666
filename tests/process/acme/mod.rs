//! Tests of certificates that the gateway gets by itself, from a real ACME server (pebble).

mod client;
mod names;
mod server;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

use self::client::{Answer, Client};
use self::server::Place;
use crate::support::client::{chat, get};
use crate::support::gateway::{Conf, Gateway};
use crate::support::nodes::node;
use crate::support::process::Process;
use crate::support::{ports, until};

const NAME: &str = "gw.example.test";
const DAY: Duration = Duration::from_hours(24);

/// The state folder: the server's own below it, and the certificate in that.
struct State(TempDir);

impl State {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    /// The gateway makes it.
    fn path(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// All files, with their modes.
    fn files(&self) -> Vec<(String, u32)> {
        let mut files = Vec::new();
        for folder in fs::read_dir(self.path()).expect("a folder").flatten() {
            for file in fs::read_dir(folder.path()).expect("a folder").flatten() {
                let mode = file.metadata().expect("a file").permissions().mode() & 0o777;
                files.push((file.file_name().to_string_lossy().into_owned(), mode));
            }
        }
        files.sort();
        files
    }

    fn keys(&self, place: &Place, more: &str) -> String {
        format!("state: {:?}, {}, {more}", self.path(), place.keys())
    }

    /// Puts a certificate there that is to be renewed now. Returns its authority.
    fn put_an_old_one(&self, place: &Place, days_left: u32) -> CertificateDer<'static> {
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).expect("a certificate").der().clone();
        let (issuer, key) = (Issuer::new(params, ca_key), KeyPair::generate().expect("a key"));
        let mut params = CertificateParams::new([NAME.to_owned()]).expect("a name");
        let now = SystemTime::now();
        params.not_before = (now - DAY * (90 - days_left)).into();
        params.not_after = (now + DAY * days_left).into();
        let old = params.signed_by(&key, &issuer).expect("a certificate");
        let folder = self.path().join(place.folder());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).expect("a folder");
        let file = folder.join(format!("{NAME}.pem"));
        fs::write(&file, key.serialize_pem() + &old.pem()).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("own file");
        ca
    }
}

/// A gateway whose only address speaks TLS.
fn conf(nodes: &[std::net::SocketAddr], listen: std::net::SocketAddr, auto: &str) -> Conf {
    let listening = format!("[{{ address: {listen}, tls: {{ auto: {{ {auto} }} }} }}]");
    Conf { listen, listening: Some(listening), ..Conf::new(nodes) }
}

/// The only certificate in a status.
fn certificate(status: &Value) -> &Value {
    &status["tls"]["certificates"][0]
}

async fn until_state(gateway: &Gateway, state: &str) -> Value {
    let found = gateway.until_status(state, |status| certificate(status)["state"] == state).await;
    certificate(&found).clone()
}

/// Waits for a certificate that the server has given to this process.
async fn until_got(gateway: &Gateway) -> Value {
    let found = |status: &Value| certificate(status)["last_success"].is_string();
    let found = gateway.until_status("a new certificate", found).await;
    certificate(&found).clone()
}

fn close(request: &str) -> String {
    request.replacen("\r\n", "\r\nConnection: close\r\n", 1)
}

fn assert_whole(answer: &Answer) {
    assert!(
        answer.text.starts_with("HTTP/1.1 200") && answer.text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"),
        "{answer:?}"
    );
}

/// No line of the log has a piece of a key.
fn assert_no_secrets(state: &State, process: &Process) {
    let said = process.stderr() + &process.stdout();
    assert!(!said.contains("PRIVATE KEY"), "{said}");
    for (name, _) in state.files() {
        let folder = fs::read_dir(state.path()).expect("a folder").flatten().next().expect("one");
        let content = fs::read_to_string(folder.path().join(name)).expect("a file");
        let words = content.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() > 20);
        for secret in words {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_certificate_by_tls_alpn_01_is_kept_for_the_next_start() {
    if !server::is_here() {
        return;
    }
    let (a, state, listen) = (node("a", Duration::ZERO), State::new(), ports::free());
    let place = Place::new(1, listen.port()).await;
    let mut server = place.start().await;
    let auto = state.keys(&place, "names: [gw.example.test, Other.example.test], email: ops@example.test");
    let mut gateway = Gateway::start(conf(&[a.addr()], listen, &auto)).await;
    let shown = until_state(&gateway, "valid").await;
    assert_eq!(shown["names"], serde_json::json!([NAME, "other.example.test"]));
    assert_eq!((&shown["source"], &shown["failures"]), (&"auto".into(), &0.into()), "{shown}");
    assert!(shown["last_success"].is_string() && shown["last_error"].is_null(), "{shown}");
    let client = Client::new(listen, &[place.root().await]);
    let first = client.ask(NAME, &close(&chat(3, true))).await.expect("an answer");
    assert_whole(&first);
    let other = client.ask("other.example.test", &close(&get("/v1/models"))).await.expect("an answer");
    assert_eq!(other.certificate, first.certificate, "one for both");
    assert_eq!(state.files(), [("account.json".to_owned(), 0o600), (format!("{NAME}.pem"), 0o600)]);
    assert_no_secrets(&state, &gateway.process);
    let metrics = gateway.admin("/metrics").await.expect("metrics");
    for line in [
        format!("evenkeel_certificate_expiry_timestamp_seconds{{name=\"{NAME}\""),
        format!("evenkeel_acme_failures_total{{name=\"{NAME}\"}} 0"),
        format!("evenkeel_acme_last_success_timestamp_seconds{{name=\"{NAME}\"}}"),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }

    // nobody is asked at the next start
    server.kill();
    gateway.stop(Signal::TERM);
    let gateway = Gateway::start(gateway.conf.clone()).await;
    let shown = until_state(&gateway, "valid").await;
    assert!(shown["last_success"].is_null() && shown["last_error"].is_null(), "{shown}");
    let again = client.ask(NAME, &close(&get("/v1/models"))).await.expect("an answer");
    assert_eq!(again.certificate, first.certificate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_certificate_by_http_01_comes_before_everything_else() {
    if !server::is_here() {
        return;
    }
    let (a, state) = (node("a", Duration::ZERO), State::new());
    let (plain, listen) = (ports::free(), ports::free());
    let place = Place::new(plain.port(), 1).await;
    let _server = place.start().await;
    let auto = state.keys(&place, &format!("names: [{NAME}], challenge: http-01"));
    let mut conf = conf(&[a.addr()], listen, &auto);
    conf.listening = conf.listening.map(|listening| listening.replacen('[', &format!("[{plain}, "), 1));
    // nothing but chats of one model is served, and to those who have a key
    let folder = tempfile::tempdir().expect("a folder");
    let keys = folder.path().join("keys.yaml");
    let hash = "0".repeat(64);
    std::fs::write(&keys, format!("keys: [{{ name: a, hash: \"sha256:{hash}\" }}]\n")).expect("a file");
    let conf = conf.pool("models: [only]").server(&format!("api_keys: {{ file: {} }}", keys.display()));
    let gateway = Gateway::start(conf).await;
    until_state(&gateway, "valid").await;
    let client = Client::new(listen, &[place.root().await]);
    client.ask(NAME, &close(&get("/v1/models"))).await.expect("an answer");
    let mut plain = crate::support::client::Client::new(plain);
    let stranger = plain.ask(&get("/.well-known/acme-challenge/a")).await.expect("an answer");
    assert_eq!(stranger.head.status, 401, "no order is under way");
    assert_no_secrets(&state, &gateway.process);
}

/// Clients with a connection for each request.
struct Load {
    clients: JoinSet<Vec<String>>,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(client: &Client, clients: usize) -> Self {
        let (done, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let mut all = JoinSet::new();
        for _ in 0..clients {
            let (client, done, stop) = (client.clone(), Arc::clone(&done), Arc::clone(&stop));
            all.spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Acquire) {
                    match client.ask(NAME, &close(&chat(2, true))).await {
                        Ok(answer) if answer.text.contains("data: [DONE]") => {}
                        other => failures.push(format!("{other:?}")),
                    }
                    done.fetch_add(1, Ordering::AcqRel);
                }
                failures
            });
        }
        Self { clients: all, done, stop }
    }

    /// Waits for so many more answers.
    async fn more(&self, count: u64) {
        let from = self.done.load(Ordering::Acquire);
        until("answers", || self.done.load(Ordering::Acquire) >= from + count).await;
    }

    async fn finish(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Release);
        let mut failures = Vec::new();
        while let Some(failed) = self.clients.join_next().await {
            failures.extend(failed.expect("a client does not panic"));
        }
        (self.done.load(Ordering::Acquire), failures)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_down_the_old_one_stays_and_its_renewal_under_load_fails_nothing() {
    if !server::is_here() {
        return;
    }
    let (a, state, listen) = (node("a", Duration::from_millis(20)), State::new(), ports::free());
    let place = Place::new(1, listen.port()).await;
    let old_root = state.put_an_old_one(&place, 20);
    let auto = state.keys(&place, &format!("names: [{NAME}]"));
    let gateway = Gateway::start(conf(&[a.addr()], listen, &auto)).await;
    let shown = until_state(&gateway, "failing").await;
    assert_eq!((&shown["failures"], &shown["days_left"]), (&1.into(), &19.into()), "{shown}");
    assert!(shown["last_error"].as_str().is_some_and(|error| error.contains("cannot be reached")), "{shown}");
    gateway.until_logged("cannot be reached: Connection refused").await;
    gateway.until_logged("the old one stays in use, and ends in 19 days").await;
    let causes = gateway.status().await.expect("a status")["causes"].to_string();
    assert!(causes.contains("ends in 19 days and cannot be renewed"), "{causes}");
    let metrics = gateway.admin("/metrics").await.expect("metrics");
    assert!(metrics.contains(&format!("evenkeel_acme_failures_total{{name=\"{NAME}\"}} 1")), "{metrics}");
    let old = Client::new(listen, std::slice::from_ref(&old_root));
    let before = old.ask(NAME, &close(&chat(1, true))).await.expect("the old one stays");

    let _server = place.start().await;
    let both = Client::new(listen, &[old_root, place.root().await]);
    let load = Load::start(&both, 8);
    // they are open before the renewal and after it
    let mut streams = JoinSet::new();
    for _ in 0..8 {
        let client = both.clone();
        streams.spawn(async move { client.ask(NAME, &close(&chat(400, true))).await });
    }
    gateway.until_status("streams", |status| crate::support::gateway::in_flight(status) >= 8).await;
    load.more(50).await;
    // whoever has put it right does not wait for the next attempt
    gateway.process.signal(Signal::HUP);
    let shown = until_state(&gateway, "valid").await;
    assert!(shown["last_error"].is_null() && shown["failures"] == 1, "{shown}");
    load.more(50).await;
    let after = both.ask(NAME, &close(&chat(1, true))).await.expect("the new one");
    assert!(before.certificate != after.certificate, "it is another one");
    assert!(!streams.is_empty() && streams.try_join_next().is_none(), "the streams are open still");
    while let Some(stream) = streams.join_next().await {
        let stream = stream.expect("a client does not panic").expect("a whole stream");
        assert_eq!(stream.certificate, before.certificate);
        assert_whole(&stream);
    }
    let (done, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {done} failed: {:?}", failures.len(), failures.first());
    eprintln!("{done} requests over a renewal, each on its own connection, and 8 open streams: none failed");
    let trusted = Client::new(listen, &[place.root().await]);
    trusted.ask(NAME, &close(&get("/v1/models"))).await.expect("its authority is the server's");
    assert_eq!(gateway.status().await.expect("a status")["causes"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_know_the_account_gets_another() {
    if !server::is_here() {
        return;
    }
    let (a, state, listen) = (node("a", Duration::ZERO), State::new(), ports::free());
    let place = Place::new(1, listen.port()).await;
    let mut server = place.start().await;
    let auto = state.keys(&place, &format!("names: [{NAME}]"));
    let conf = conf(&[a.addr()], listen, &auto);
    let mut gateway = Gateway::start(conf.clone()).await;
    until_state(&gateway, "valid").await;
    gateway.stop(Signal::TERM);
    server.kill();
    let _server = place.start().await;
    state.put_an_old_one(&place, 3);
    let gateway = Gateway::start(conf).await;
    let shown = until_got(&gateway).await;
    assert_eq!(shown["failures"], 0, "{shown}");
    let client = Client::new(listen, &[place.root().await]);
    client.ask(NAME, &close(&get("/v1/models"))).await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_elsewhere_is_told_while_a_stand_in_is_served() {
    if !server::is_here() {
        return;
    }
    let (a, state, listen) = (node("a", Duration::ZERO), State::new(), ports::free());
    // nobody listens where the name leads
    let place = Place::new(1, ports::free().port()).await;
    let _server = place.start().await;
    let auto = state.keys(&place, &format!("names: [{NAME}]"));
    let gateway = Gateway::start(conf(&[a.addr()], listen, &auto)).await;
    let found = |status: &Value| certificate(status)["last_error"].is_string();
    let status = gateway.until_status("a failure", found).await;
    let shown = certificate(&status);
    let error = shown["last_error"].as_str().expect("text");
    assert!(shown["state"] == "pending" && error.contains(&format!("refuses: {NAME}: ")), "{shown}");
    assert!(error.contains("port 443 of the name must lead to this gateway"), "{error}");
    gateway.until_logged("there is none yet, so clients get one that they cannot trust").await;
    let client = Client::new(listen, &[place.root().await]);
    let error = client.connect(NAME).await.expect_err("nobody has signed it");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    let causes = status["causes"].to_string();
    assert!(causes.contains(&format!("{NAME} has no certificate yet")), "{causes}");
}

#[test]
fn a_folder_that_others_can_read_is_refused_with_its_line() {
    let directory = TempDir::new().expect("a folder");
    let state = directory.path().join("state");
    fs::create_dir(&state).expect("a folder");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).expect("own folder");
    let auto = format!("{{ names: [{NAME}], terms_agreed: true, state: {state:?} }}");
    let file = directory.path().join("a.yaml");
    let listen =
        format!("server:\n  listen:\n    - address: 127.0.0.1:443\n      tls:\n        auto: {auto}\n");
    fs::write(&file, listen + "pools: { a: { nodes: [127.0.0.1:1] } }\n").expect("a file");
    let (code, _, error) = Process::output(&["check", "-c", path(&file)]);
    let says = format!(
        ":5: server.listen[0].tls.auto.state: {} holds private keys and is open to others (mode 755)",
        state.display()
    );
    assert!(code == 64 && error.contains(&says), "{code}: {error}");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("own folder");
    let (code, out, error) = Process::output(&["check", "-c", path(&file)]);
    assert!(code == 0, "{out}{error}");
    assert_eq!(fs::read_dir(&state).expect("a folder").count(), 0, "a check writes nothing");
}

fn path(file: &Path) -> &str {
    file.to_str().expect("UTF-8")
}
