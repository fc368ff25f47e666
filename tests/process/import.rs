//! Tests of `evenkeel import`: its files and exit codes, and a translated config that serves.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::client::{Client, get};
use crate::support::process::{BINARY, Process};
use crate::support::{nodes, ports, until};

/// The usual config in front of two nodes, in a directory of its own.
fn usual(listen: &str, nodes: [&str; 2], directory: &std::path::Path) -> String {
    let text = include_str!("../import/nginx/01-usual.conf")
        .replace("192.168.0.150:9997", nodes[0])
        .replace("192.168.0.58:9997", nodes[1])
        .replace("listen 9999", &format!("listen {listen}"))
        .replace("/var/log/nginx", &directory.display().to_string());
    let path = directory.join("nginx.conf");
    fs::write(&path, text).expect("a file");
    path.to_str().expect("a plain path").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_config_is_translated_and_serves() {
    let directory = tempfile::tempdir().expect("a directory");
    let pair = ["a", "b"].map(|name| nodes::node(name, Duration::from_millis(1)));
    let addresses = pair.each_ref().map(|node| node.addr().to_string());
    let (listen, admin) = (ports::free(), ports::free());
    let conf = usual(&listen.to_string(), [&addresses[0], &addresses[1]], directory.path());
    let out = directory.path().join("evenkeel.yaml");
    let out = out.to_str().expect("a plain path");
    let (code, printed, notes) = Process::output(&["import", "nginx", &conf, "-o", out]);
    assert_eq!((code, printed.as_str()), (0, ""), "{notes}");
    assert!(notes.contains(&format!("{conf}:15: warning: without `zone`")), "{notes}");
    let (code, _, problems) = Process::output(&["check", "-c", out]);
    assert_eq!(code, 0, "{problems}");
    // the tests beside this one have the default
    let yaml = fs::read_to_string(out).expect("a config");
    fs::write(out, yaml.replacen("server:\n", &format!("server:\n  admin: {admin}\n"), 1)).expect("a file");
    let gateway = Process::start(&["run", "-c", out]);
    until("it listens", || std::net::TcpStream::connect(listen).is_ok()).await;
    let mut served = std::collections::BTreeSet::new();
    let mut client = Client::new(listen);
    for _ in 0..4 {
        let answer = client.ask(&get("/v1/models")).await.expect("an answer");
        assert_eq!(answer.head.status, 200, "{}", gateway.stderr());
        served.insert(answer.head.field("x-evenkeel-node").expect("a node").to_owned());
    }
    assert_eq!(served, addresses.into_iter().collect());
    let log = directory.path().join("access.log");
    until("the log has a line", || fs::read_to_string(&log).is_ok_and(|log| log.contains("/v1/models")))
        .await;
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let conf = usual("9999", ["a:1", "b:1"], directory.path());
    let taken = directory.path().join("taken.yaml");
    fs::write(&taken, "kept").expect("a file");
    let path = taken.to_str().expect("a plain path");
    let (code, _, err) = Process::output(&["import", "nginx", &conf, "--output", path]);
    assert!(code == 1 && err.contains(&format!("{path} is there already, and is not overwritten")), "{err}");
    assert_eq!(fs::read_to_string(&taken).expect("a file"), "kept");
    let (code, out, err) = Process::output(&["import", "nginx", "/nowhere/nginx.conf"]);
    assert!(code == 1 && out.is_empty() && err.contains("/nowhere/nginx.conf: cannot be read: "), "{err}");
    let bad = directory.path().join("bad.conf");
    fs::write(&bad, "http {\n  upstream {{ name }};\n}").expect("a file");
    let (code, out, err) = Process::output(&["import", "nginx", bad.to_str().expect("a plain path")]);
    assert!(code == 1 && out.is_empty() && err.contains("bad.conf:2: "), "{err}");
}

#[test]
fn a_certificate_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let conf = directory.path().join("nginx.conf");
    let text = "server { listen 443 ssl; ssl_certificate /nowhere/c.pem; ssl_certificate_key /nowhere/k.pem;
        location / { proxy_pass http://10.0.0.1:1; } }";
    fs::write(&conf, text).expect("a file");
    let (code, out, err) = Process::output(&["import", "nginx", conf.to_str().expect("a plain path")]);
    assert!(code == 0 && out.contains("cert: /nowhere/c.pem"), "{out}{err}");
    let told =
        err.lines().filter(|line| line.starts_with("warning: server.listen[0].tls.")).collect::<Vec<_>>();
    assert!(!told.is_empty() && told.iter().all(|line| line.contains("/nowhere/")), "{err}");
}

#[test]
fn included_files_are_found_beside_the_config_and_standard_input_will_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let inner = directory.path().join("conf.d");
    fs::create_dir(&inner).expect("a directory");
    for (name, port) in [("b.conf", 2), ("a.conf", 1), ("c.off", 3)] {
        fs::write(inner.join(name), format!("server 10.0.0.1:{port};")).expect("a file");
    }
    let text = "upstream a { include conf.d/*.conf; }\nserver { location / { proxy_pass http://a; } }";
    let conf = directory.path().join("nginx.conf");
    fs::write(&conf, text).expect("a file");
    let (code, out, err) = Process::output(&["import", "nginx", conf.to_str().expect("a plain path")]);
    assert_eq!(code, 0, "{err}");
    let places: Vec<_> = ["10.0.0.1:1", "10.0.0.1:2"].iter().filter_map(|node| out.find(node)).collect();
    assert!(places.len() == 2 && places.is_sorted() && !out.contains("10.0.0.1:3"), "{out}");
    let mut command = Command::new(BINARY);
    let mut child = command
        .args(["import", "nginx", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"server { listen 81; location / { proxy_pass http://10.0.0.2:7; } }").expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        output.status.success() && out.contains("- 10.0.0.2:7 ") && out.contains("# stdin:1: listen 81"),
        "{out}"
    );
}
