//! TLS towards clients: versions, names, certificates of clients, and certificates that are replaced while streams run.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evenkeel::sim::Options;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{
    Authority, Files, Gateway, LIMIT, eventually, nodes, nodes_like, pool, run, steps, within,
};

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

async fn connect(to: SocketAddr, name: &str, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The serial number of the certificate that the gateway showed.
fn serial(stream: &TlsStream<TcpStream>) -> u64 {
    let shown = &stream.get_ref().1.peer_certificates().unwrap()[0];
    let (_, parsed) = x509_parser::parse_x509_certificate(shown).unwrap();
    parsed.raw_serial().iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Sends a request on this connection and reads to its end.
async fn ask(mut stream: TlsStream<TcpStream>, body: &str) -> io::Result<String> {
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ";
    stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    stream.flush().await?;
    let mut answer = String::new();
    // an end without `close_notify` is an error
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn chat(tokens: u32) -> String {
    format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"max_tokens":{tokens},"stream":true}}"#
    )
}

async fn gateway(tls: &str, nodes: &[evenkeel::sim::Node]) -> (Gateway, SocketAddr) {
    let gateway = Gateway::secured(tls, "", &pool("p", nodes, "")).await;
    let address = gateway.secure();
    (gateway, address)
}

#[test]
fn the_certificate_is_that_of_the_name_asked_for() {
    run(async {
        let (directory, authority, nodes) = (TempDir::new().unwrap(), Authority::new(), nodes(1));
        let sign = |name: &str, names: &[&str], serial| authority.sign(directory.path(), name, names, serial);
        let first = sign("first", &["gw.example", "127.0.0.1"], 1);
        let wild = sign("wild", &["*.lab.example"], 2);
        let other = sign("other", &["a.lab.example", "other.example"], 3);
        let more = format!("certificates: [{{ {} }}, {{ {} }}]", wild.yaml(), other.yaml());
        let (_gateway, address) = gateway(&format!("{}, {more}", first.yaml()), &nodes).await;
        for (name, want) in [
            ("gw.example", Some(1)),
            ("127.0.0.1", Some(1)),
            ("b.lab.example", Some(2)),
            ("B.LAB.example", Some(2)),
            ("a.lab.example", Some(3)),
            ("other.example", Some(3)),
            // the first one is shown, which is not for these
            ("a.b.lab.example", None),
            ("stranger.example", None),
        ] {
            let shown = connect(address, name, authority.client(BOTH, None)).await;
            assert_eq!(shown.ok().as_ref().map(serial), want, "{name}");
        }
    });
}

#[test]
fn both_versions_are_spoken_and_http_is_chosen_by_alpn() {
    run(async {
        let (directory, authority, nodes) = (TempDir::new().unwrap(), Authority::new(), nodes(1));
        let files = authority.sign(directory.path(), "a", &["127.0.0.1"], 1);
        for (min, refuses_old) in [("1.2", false), ("1.3", true)] {
            let tls = format!("{}, min_version: {min}", files.yaml());
            let (gateway, address) = gateway(&tls, &nodes).await;
            for (version, is_old) in [(&TLS12, true), (&TLS13, false)] {
                let stream = connect(address, "127.0.0.1", authority.client(&[version], None)).await;
                if is_old && refuses_old {
                    let error = stream.expect_err("too old").to_string();
                    assert!(error.contains("ProtocolVersion"), "{error}");
                    continue;
                }
                let answer = ask(stream.unwrap(), &chat(3)).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("[DONE]"), "{answer}");
            }
            for (offers, agreed) in [
                (&["h2", "http/1.1"][..], Some("h2")),
                (&["http/1.1"], Some("http/1.1")),
                (&["h2"], Some("h2")),
                (&[], None),
            ] {
                let mut config = authority.client(BOTH, None);
                config.alpn_protocols = offers.iter().map(|offer| offer.as_bytes().to_vec()).collect();
                let stream = connect(address, "127.0.0.1", config).await.unwrap();
                assert_eq!(stream.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes), "{offers:?}");
            }
            let mut config = authority.client(BOTH, None);
            config.alpn_protocols = vec![b"smtp".to_vec()];
            assert!(connect(address, "127.0.0.1", config).await.is_err(), "nothing in common");
            gateway.at_rest().await;
        }
    });
}

#[test]
fn a_client_may_have_to_show_a_certificate() {
    run(async {
        let (directory, authority, nodes) = (TempDir::new().unwrap(), Authority::new(), nodes(1));
        let path = directory.path();
        let files = authority.sign(path, "a", &["127.0.0.1"], 1);
        let client = authority.sign(path, "client", &["batch"], 2);
        let stranger = Authority::new().sign(path, "stranger", &["batch"], 3);
        let ca = authority.file(path);
        for (verify, without, wrong) in [("on", false, false), ("optional", true, false)] {
            let tls = format!("{}, verify_client: {verify}, client_ca: \"{}\"", files.yaml(), ca.display());
            let (_gateway, address) = gateway(&tls, &nodes).await;
            for (own, may) in [(Some(&client), true), (None, without), (Some(&stranger), wrong)] {
                for version in BOTH {
                    let config = authority.client(&[version], own);
                    // over TLS 1.3 the client has finished before the gateway has seen its certificate
                    let served = async {
                        let stream = connect(address, "127.0.0.1", config).await?;
                        ask(stream, &chat(1)).await
                    };
                    let served = served.await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
                    assert_eq!(served, may, "verify_client: {verify}, {:?}", own.map(|files| files.serial));
                }
            }
        }
    });
}

/// Handshakes one after the other, until told to stop: how many there were, and the serial numbers that were seen.
async fn shakes_hands(address: SocketAddr, config: ClientConfig, stop: Arc<AtomicBool>) -> Vec<u64> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let stream = connect(address, "127.0.0.1", config.clone()).await.expect("a handshake");
        seen.push(serial(&stream));
        let answer = ask(stream, &chat(1)).await.expect("an answer");
        assert!(answer.contains("[DONE]"), "{answer}");
    }
    seen
}

#[test]
fn certificates_are_replaced_under_200_streams_without_a_cut_or_a_failed_handshake() {
    run(async {
        let (directory, authority) = (TempDir::new().unwrap(), Authority::new());
        let path = directory.path();
        let nodes = nodes_like(2, &Options { step: steps(20), ..Options::default() });
        let files = authority.sign(path, "a", &["127.0.0.1"], 1);
        let (gateway, address) = gateway(&files.yaml(), &nodes).await;
        let mut streams = tokio::task::JoinSet::new();
        let mut connections = Vec::new();
        for _ in 0..200 {
            connections.push(connect(address, "127.0.0.1", authority.client(BOTH, None)).await.unwrap());
        }
        for connection in connections {
            streams.spawn(async move { ask(connection, &chat(200)).await });
        }
        eventually(LIMIT, "all run", || gateway.in_flight().iter().sum::<u32>() == 200).await;
        let stop = Arc::new(AtomicBool::new(false));
        let hands = tokio::spawn(shakes_hands(address, authority.client(BOTH, None), Arc::clone(&stop)));
        // one by a reload, and one because the files have changed
        authority.sign(path, "a", &["127.0.0.1"], 2);
        gateway.reload(&pool("p", &nodes, ""));
        assert_eq!(serial(&connect(address, "127.0.0.1", authority.client(BOTH, None)).await.unwrap()), 2);
        authority.sign(path, "a", &["127.0.0.1"], 3);
        within(LIMIT, "the changed files are in use", async {
            while serial(&connect(address, "127.0.0.1", authority.client(BOTH, None)).await.unwrap()) != 3 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        let seen = hands.await.unwrap();
        assert!(seen.is_sorted() && seen.len() > 2, "{seen:?}");
        let mut whole = 0;
        while let Some(answer) = streams.join_next().await {
            let answer = answer.unwrap().expect("no stream is cut");
            whole += usize::from(answer.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"));
        }
        assert_eq!(whole, 200);
        assert_eq!(gateway.status().tls.failed_handshakes, 0);
        // a key that belongs to another certificate changes nothing
        let wrong = Authority::new().sign(path, "wrong", &["127.0.0.1"], 4);
        std::fs::copy(&wrong.key, &files.key).unwrap();
        eventually(LIMIT, "it is seen", || gateway.status().tls.files.failures > 0).await;
        let error = gateway.status().tls.files.error.expect("a problem");
        assert!(error.contains("is not the private key of the certificate in"), "{error}");
        assert_eq!(serial(&connect(address, "127.0.0.1", authority.client(BOTH, None)).await.unwrap()), 3);
    });
}

#[test]
fn what_is_no_handshake_is_told_so() {
    run(async {
        let (directory, authority, nodes) = (TempDir::new().unwrap(), Authority::new(), nodes(1));
        let files = authority.sign(directory.path(), "a", &["127.0.0.1"], 1);
        let (gateway, address) = gateway(&files.yaml(), &nodes).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
        // one that begins well and then is none
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[22, 3, 1, 0, 5, 1, 2, 3, 4, 5]).await.unwrap();
        let mut alert = Vec::new();
        // an alert, or nothing
        let _ = stream.read_to_end(&mut alert).await;
        eventually(LIMIT, "it is counted", || gateway.status().tls.failed_handshakes == 1).await;
        assert!(gateway.metrics().contains("evenkeel_tls_handshake_failures_total 1\n"));
        let expiry = format!(
            "evenkeel_certificate_expiry_timestamp_seconds{{name=\"127.0.0.1\",file=\"{}\"}}",
            files.cert.display()
        );
        assert!(gateway.metrics().contains(&expiry), "{}", gateway.metrics());
    });
}

/// Files of the gateway's certificate that `check` refuses, with a part of the reason.
#[test]
fn files_that_cannot_be_used_are_refused() {
    let (directory, authority) = (TempDir::new().unwrap(), Authority::new());
    let path = directory.path();
    let good = authority.sign(path, "good", &["127.0.0.1"], 1);
    let other = authority.sign(path, "other", &["127.0.0.1"], 2);
    let date = |year| rcgen::date_time_ymd(year, 1, 1);
    let old = authority
        .sign_with(path, "old", &["a"], 3, |it| (it.not_before, it.not_after) = (date(2020), date(2021)));
    let early = authority
        .sign_with(path, "early", &["a"], 3, |it| (it.not_before, it.not_after) = (date(2090), date(2091)));
    let text = path.join("text");
    std::fs::write(&text, "no PEM").unwrap();
    let with = |cert: &std::path::Path, key: &std::path::Path| Files {
        cert: cert.into(),
        key: key.into(),
        serial: 0,
    };
    let missing = path.join("missing");
    for (files, line, why) in [
        (with(&missing, &good.key), 3, "cannot read"),
        (with(&good.cert, &missing), 4, "cannot read"),
        (with(&text, &good.key), 3, "has no certificate in PEM form"),
        (with(&good.cert, &text), 4, "has no private key in PEM form"),
        (with(&good.cert, &other.key), 4, "is not the private key of the certificate"),
        (old, 3, "the certificate expired at"),
        (early, 3, "the certificate is not valid before"),
    ] {
        let (cert, key) = (files.cert.display(), files.key.display());
        let config = path.join("evenkeel.yaml");
        let text = format!(
            "server:\n  listen: {{ address: 127.0.0.1:1, tls: {{\n    cert: {cert},\n    key: {key} }} }}\npools: {{ a: {{ nodes: [b:1] }} }}\n"
        );
        std::fs::write(&config, &text).unwrap();
        let loaded = evenkeel::config::Config::load(&config).unwrap_or_else(|problems| panic!("{problems}"));
        let faults =
            evenkeel::material::Material::load(&loaded, std::time::SystemTime::now()).expect_err(why);
        let problems = evenkeel::config::located(&config, faults).to_string();
        assert!(
            problems.contains(why) && problems.contains(&format!(":{line}: server.listen")),
            "{problems}"
        );
    }
}
