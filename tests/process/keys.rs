//! Tests of clients' keys with the real binary: `evenkeel key`, changes without a restart, and a log at its most talkative.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::support::client::{Client, chat, get};
use crate::support::gateway::{Conf, Gateway};
use crate::support::nodes::node;
use crate::support::process::Process;
use crate::support::{LIMIT, LOOK};

fn with_key(request: &str, key: &str) -> String {
    request.replacen("\r\n", &format!("\r\nAuthorization: Bearer {key}\r\n"), 1)
}

fn key(args: &[&str]) -> (i32, String, String) {
    Process::output(&[&["key"], args].concat())
}

/// A new key for this name.
fn new(name: &str, more: &[&str]) -> String {
    let (code, out, err) = key(&[&["new", name], more].concat());
    assert_eq!(code, 0, "{err}");
    assert!(err.contains(&format!("the key of {name} follows")), "{err}");
    let token = out.trim().to_owned();
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    assert!(token.len() == 46 && token.starts_with("ek-") && token.chars().all(is_token), "{out}");
    token
}

fn path(folder: &Path) -> String {
    folder.join("keys.yaml").to_str().expect("plain text").to_owned()
}

/// Asks until this is the status.
async fn until_answered(gateway: &Gateway, token: &str, status: u16) {
    let asking = async {
        let mut client = Client::new(gateway.address());
        while client.ask(&with_key(&chat(1, false), token)).await.map(|answer| answer.head.status).ok()
            != Some(status)
        {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(LIMIT, asking)
        .await
        .unwrap_or_else(|_| panic!("never {status}: {}", gateway.process.stderr()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_works_without_a_restart_until_it_is_revoked() {
    let a = node("a", Duration::ZERO);
    let directory = tempfile::tempdir().expect("a directory");
    let file = path(directory.path());
    let first = new("first", &["--file", &file]);
    let mode = fs::metadata(&file).expect("the file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let conf = Conf::new(&[a.addr()]).server("api_keys: { file: keys.yaml }");
    let gateway = Gateway::spawn(conf, directory, &[]);
    gateway.until_status("it serves", |_| true).await;
    until_answered(&gateway, &first, 200).await;
    let config = gateway.file("gateway.yaml");
    let config = config.to_str().expect("plain text");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("a mode");
    let text = fs::read_to_string(&file).expect("the file") + "  # the guests\n";
    fs::write(&file, text).expect("the file");
    let more = [
        "--models",
        "sim,Qwen/*",
        "--class",
        "batch",
        "--max-in-flight",
        "4",
        "--requests-per-minute",
        "600",
        "--tokens-per-minute",
        "100000",
        "--expires",
        "30d",
        "-c",
        config,
    ];
    let guest = new("guest", &more);
    until_answered(&gateway, &guest, 200).await;
    let text = fs::read_to_string(&file).expect("the file");
    assert!(text.contains("  # the guests\n  - { name: \"guest\""), "{text}");
    assert!(!text.contains(&guest[3..]) && !text.contains(&first[3..]), "{text}");
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o640, "as it was");
    let (code, list, _) = key(&["list", "-c", config]);
    assert_eq!(code, 0);
    assert!(
        list.contains("guest  sha256:") && list.contains("sim Qwen/*") && list.contains("100000"),
        "{list}"
    );
    let (_, json, _) = key(&["list", "--json", "-c", config]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json[0]["name"], &json[1]["class"]), (&"first".into(), &"batch".into()));
    let (code, _, err) = key(&["revoke", "first", "-c", config]);
    assert_eq!((code, err.contains("the key of first is revoked")), (0, true), "{err}");
    until_answered(&gateway, &first, 401).await;
    until_answered(&gateway, &guest, 200).await;
    let status = gateway.status().await.expect("a status");
    assert_eq!((&status["keys"][0]["name"], &status["keys_file"]["ok"]), (&"guest".into(), &true.into()));
    for (args, code, words) in [
        (&["revoke", "first"][..], 1, "has no key of this name"),
        (&["new", "guest"], 1, "has a key of this name"),
        (&["new", "a b"], 1, "`a b` is not a name"),
        (&["new", "a", "--class", "urgent"], 1, "class: `urgent` is not one of"),
        (&["new", "a", "--max-in-flight", "0"], 1, "max-in-flight: 0 is not a whole number"),
        (&["new", "a", "--expires", "soon"], 1, "--expires is not a point in time"),
        (&["new", "a", "--models", ""], 1, "models[0]: "),
    ] {
        let (got, out, err) = key(&[args, &["-c", config]].concat());
        assert_eq!((got, &*out, err.contains(words)), (code, "", true), "{args:?}: {err}");
    }
}

#[test]
fn a_bad_file_is_refused_at_the_start_and_by_every_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = path(directory.path());
    let config = directory.path().join("gateway.yaml");
    let conf =
        Conf::new(&["127.0.0.1:9".parse().expect("an address")]).server("api_keys: { file: keys.yaml }");
    fs::write(&config, conf.text()).expect("a file");
    let config = config.to_str().expect("plain text");
    for text in [None, Some("keys: [{ name: a }]")] {
        text.iter().for_each(|text| fs::write(&file, text).expect("a file"));
        let words = if text.is_some() { "keys.yaml:1: keys[0].hash: is missing" } else { "cannot be read" };
        let with_file: [&[&str]; 3] =
            [&["run", "-c", config], &["check", "-c", config], &["key", "list", "-c", config]];
        for args in with_file {
            let (code, _, err) = Process::output(args);
            assert_eq!((code, err.contains(words)), (64, true), "{args:?}: {err}");
        }
    }
    for args in [["revoke", "a"], ["new", "b"]] {
        let (code, _, err) = key(&[&args[..], &["--file", &file]].concat());
        assert_eq!((code, err.contains("keys[0].hash: is missing")), (64, true), "{err}");
    }
    let plain = Conf::new(&["127.0.0.1:9".parse().expect("an address")]);
    fs::write(config, plain.text()).expect("a file");
    let (code, _, err) = key(&["list", "-c", config]);
    assert_eq!((code, err.contains("asks for no keys; add `api_keys:")), (1, true), "{err}");
}

#[test]
fn commands_at_the_same_time_lose_no_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = path(directory.path());
    let names: Vec<_> = (0..12).map(|number| format!("k{number}")).collect();
    let started: Vec<_> =
        names.iter().map(|name| Process::start(&["key", "new", name, "--file", &file])).collect();
    started.into_iter().for_each(|mut process| assert!(process.wait().success(), "{}", process.stderr()));
    let (_, list, _) = key(&["list", "--file", &file]);
    assert!(names.iter().all(|name| list.contains(&format!("{name} "))), "{list}");
    let left: Vec<_> = fs::read_dir(directory.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1, "no temporary file stays: {left:?}");
}

/// One request over HTTP/2; its status.
async fn over_http2(gateway: &Gateway, field: &str, value: &str) -> u16 {
    let stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    let (mut sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let body = r#"{"model":"sim","prompt":"x","max_tokens":1}"#;
    let request = Request::post("http://gateway/v1/completions").header(field, value);
    let request = request.body(Full::new(Bytes::from(body))).expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let status = answer.status().as_u16();
    answer.into_body().collect().await.expect("a body");
    status
}

/// Whatever the libraries below log at their most talkative level, no key is among it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_in_the_log_at_trace() {
    let a = node("a", Duration::ZERO);
    let directory = tempfile::tempdir().expect("a directory");
    let file = path(directory.path());
    let good = new("alice", &["--file", &file]);
    let conf = Conf::new(&[a.addr()])
        .server(&format!("api_keys: {{ file: \"{file}\" }}"))
        .pool("retry: { body_limit: 1KiB }");
    let mut gateway = Gateway::start_with(conf, &[], &[("RUST_LOG", "trace")]).await;
    let bad = "pl4nted-key";
    for token in [good.as_str(), bad] {
        let status = if token == bad { 401 } else { 200 };
        for (field, value) in [
            ("authorization", format!("Bearer {token}")),
            ("x-api-key", token.to_owned()),
            ("api-key", token.to_owned()),
        ] {
            assert_eq!(over_http2(&gateway, field, &value).await, status, "{field}");
            let mut client = Client::new(gateway.address());
            let line = format!("\r\n{field}: {value}\r\n");
            let with = |request: &str| request.replacen("\r\n", &line, 1);
            let answer = client.ask(&with(&chat(1, true))).await.expect("an answer");
            assert_eq!(answer.head.status, status, "{field}");
            let upload = chat(1, false).replace("Tell me", &"Tell ".repeat(1000));
            let length = upload.split_once("\r\n\r\n").expect("a body").1.len();
            let upload =
                upload.replacen("Content-Length: ", &format!("Content-Length: {length}\r\nX-Old: "), 1);
            let head = client.begin(&with(&upload)).await.expect("an answer");
            assert_eq!(head.status, status, "{field}: an upload that is not kept");
            let upgrade = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            let mut tunnel = Client::new(gateway.address());
            let head = tunnel.begin(&with(upgrade)).await.expect("an answer");
            assert_eq!(head.status, if token == bad { 401 } else { 101 }, "{field}");
        }
    }
    let mut told = String::new();
    for path in ["/api/status", "/metrics", "/api/requests"] {
        told += &gateway.admin_client().ask(&get(path)).await.expect("an answer").body;
    }
    gateway.stop(rustix::process::Signal::TERM);
    let log = gateway.process.stderr();
    assert!(log.contains("the API key is not known here") && log.contains("DEBUG"), "{log}");
    told += &log;
    told += &gateway.process.stdout();
    for key in [&good[3..], bad] {
        let found = told.find(key).map(|at| &told[at.saturating_sub(300)..at + key.len()]);
        assert_eq!(found, None);
    }
}
