//! Commands that ask an admin address with TLS and tokens.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::support::nodes::node;
use crate::support::process::Process;
use crate::support::{ports, until};

const READS: &str = "read-token-0123456789abcdef-0123";
const OPERATES: &str = "operate-token-0123456789abcdef-0";

/// A gateway whose admin address has both, with its config file.
async fn guarded(directory: &Path, node: std::net::SocketAddr) -> (Process, String, u16) {
    let made = rcgen::generate_simple_self_signed(["gw.example".to_owned(), "localhost".to_owned()])
        .expect("a certificate");
    let path = |name: &str| directory.join(name).display().to_string();
    fs::write(path("cert.pem"), made.cert.pem()).expect("a file");
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).expect("a file");
    fs::write(path("read"), READS).expect("a file");
    fs::write(path("operate"), OPERATES).expect("a file");
    let (listen, admin) = (ports::free(), ports::free().port());
    let text = format!(
        "server:\n  listen: {listen}\n  admin:\n    address: 0.0.0.0:{admin}\n    tls: {{ cert: {}, key: {} }}\n    tokens:\n      \
         - {{ role: read, file: {} }}\n      - {{ role: operate, file: {} }}\npools: {{ sim: {{ nodes: [\"{node}\"] }} }}\n",
        path("cert.pem"),
        path("key.pem"),
        path("read"),
        path("operate")
    );
    let file = path("gateway.yaml");
    fs::write(&file, text).expect("a file");
    let gateway = Process::start(&["run", "-c", &file]);
    until("it listens", || gateway.stderr().contains("pool sim:")).await;
    let listens = || std::net::TcpStream::connect(("127.0.0.1", admin)).is_ok();
    until("its admin address listens", listens).await;
    (gateway, file, admin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_know_the_certificate_and_show_a_token() {
    let (directory, a) = (tempfile::tempdir().expect("a directory"), node("a", Duration::ZERO));
    let (gateway, file, port) = guarded(directory.path(), a.addr()).await;
    let (name, path) = (a.addr().to_string(), |name: &str| directory.path().join(name).display().to_string());
    let (cert, reads, operates) = (path("cert.pem"), path("read"), path("operate"));
    let (local, ip) = (format!("https://localhost:{port}"), format!("https://127.0.0.1:{port}"));
    for (args, want, says) in [
        // by the config: its certificate, and the token that may do most
        (vec!["drain", "sim", &name, "-c", &file], 0, "drain"),
        (vec!["top", "-c", &file, "--count", "1"], 0, "draining (operator)"),
        // by the config, with another authority: one of its names is verified, not the address
        (vec!["drain", "sim", &name, "-c", &file, "--ca", &cert], 0, "drain"),
        // from elsewhere
        (vec!["undrain", "sim", &name, "--admin", &local, "--ca", &cert, "--token-file", &operates], 0, ""),
        (
            vec!["drain", "sim", &name, "--admin", &local, "--ca", &cert, "--token-file", &reads],
            1,
            "its role is `read`",
        ),
        (
            vec!["drain", "sim", &name, "--admin", &local, "--ca", &cert],
            1,
            "a token of `server.admin.tokens` is needed",
        ),
        // neither another name nor another authority is believed
        (
            vec!["drain", "sim", &name, "--admin", &ip, "--ca", &cert, "--token-file", &operates],
            1,
            "certificate",
        ),
        (vec!["drain", "sim", &name, "--admin", &local, "--token-file", &operates], 1, "certificate"),
        (vec!["drain", "sim", &name, "--admin", &local, "--ca", &reads], 64, "no certificate in PEM form"),
        (
            vec!["drain", "sim", &name, "--admin", &local, "--ca", &cert, "--token-file", "/nowhere"],
            64,
            "/nowhere",
        ),
    ] {
        let (code, stdout, stderr) = Process::output(&args);
        assert_eq!(code, want, "{args:?}: {stdout}{stderr}");
        assert!(stdout.contains(says) || stderr.contains(says), "{args:?}: {stdout}{stderr}");
        assert!(!stdout.contains("-token-") && !stderr.contains("-token-"), "{args:?}: {stdout}{stderr}");
    }
    assert!(!gateway.stderr().contains("-token-"), "{}", gateway.stderr());
}

/// A gateway that gets its certificate by itself has none with the address by which its commands ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_know_a_certificate_that_the_gateway_got_by_itself() {
    let (directory, a) = (tempfile::tempdir().expect("a directory"), node("a", Duration::ZERO));
    let made = rcgen::generate_simple_self_signed(["gw.example".to_owned()]).expect("a certificate");
    let path = |name: &str| directory.path().join(name);
    let folder = path("acme").join("localhost-dir");
    fs::create_dir_all(&folder).expect("a folder");
    let kept = folder.join("gw.example.pem");
    fs::write(&kept, made.signing_key.serialize_pem() + &made.cert.pem()).expect("a file");
    for (path, mode) in [(&path("acme"), 0o700), (&folder, 0o700), (&kept, 0o600)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("its owner");
    }
    fs::write(path("operate"), OPERATES).expect("a file");
    fs::write(path("cert.pem"), made.cert.pem()).expect("a file");
    let (listen, admin, name) = (ports::free(), ports::free().port(), a.addr().to_string());
    // relative paths begin in the folder of the config
    let auto =
        "{ names: [gw.example], terms_agreed: true, state: acme, directory: \"https://localhost/dir\" }";
    let text = format!(
        "server:\n  listen: {listen}\n  admin:\n    address: 0.0.0.0:{admin}\n    tls: {{ auto: {auto} }}\n    \
         tokens: [{{ role: operate, file: operate }}]\npools: {{ sim: {{ nodes: [\"{name}\"] }} }}\n"
    );
    let file = path("gateway.yaml").display().to_string();
    fs::write(&file, text).expect("a file");
    let _gateway = Process::start(&["run", "-c", &file]);
    let listens = || std::net::TcpStream::connect(("127.0.0.1", admin)).is_ok();
    until("its admin address listens", listens).await;
    let ca = path("cert.pem").display().to_string();
    let drained = |more: &[&str]| {
        let args = [&["drain", "sim", &name, "-c", &file], more].concat();
        let (code, stdout, stderr) = Process::output(&args);
        (code, stdout + &stderr)
    };
    for more in [&[][..], &["--ca", &ca]] {
        let (code, said) = drained(more);
        assert_eq!(code, 0, "{said}");
    }
    // where the folder cannot be read, the name is verified, by the system's authorities
    fs::remove_file(&kept).expect("it was there");
    let (code, said) = drained(&[]);
    assert!(code == 1 && said.contains("certificate"), "{said}");
}
