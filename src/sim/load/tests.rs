//! Tests of the simulated clients against simulated nodes: success and each kind of failure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Ask, Cipher, Connections, Failure, Load, Report, Sizes, Target, Tls};
use crate::sim::testing::{LIMIT, node, steps, until};
use crate::sim::{Fault, FaultKind, Node, Options};

const STREAM: f64 = 1.0;
const WHOLE: f64 = 0.0;

fn load(nodes: &[&Node], count: u64, stream: f64) -> Load {
    let targets = nodes.iter().map(|node| Target::chat(node.addr())).collect();
    let ask = Ask::Chat { tokens: Sizes::Uniform { min: 1, max: 8 }, stream };
    Load { count: Some(count), timeout: Some(LIMIT), ..Load::new(targets, 4, ask) }
}

async fn put(load: Load) -> Report {
    load.start().finish().await
}

#[tokio::test]
async fn requests_and_streams_over_kept_connections() {
    let node = node(Options::default());
    let report = put(load(&[&node], 200, WHOLE)).await;
    assert_eq!((report.sent, report.succeeded, report.failed, report.events), (200, 200, 0, 0));
    let report = put(load(&[&node], 200, STREAM)).await;
    assert_eq!((report.succeeded, report.latency().len(), report.first_event().len()), (200, 200, 200));
    assert!(report.events > 400 && report.rate() > 0.0);
    assert!(report.records.iter().all(|record| record.first_byte <= Some(record.latency)));
    assert_eq!(node.stats().accepted, 8);
    assert_eq!(node.stats().succeeded, 400);
}

#[tokio::test]
async fn several_targets_take_turns() {
    let (a, b) = (node(Options::default()), node(Options::default()));
    let report = put(load(&[&a, &b], 101, 0.5)).await;
    assert_eq!(report.succeeded, 101);
    assert_eq!((a.stats().received, b.stats().received), (51, 50));
}

#[tokio::test]
async fn failures_are_named() {
    let status = FaultKind::Status { code: 503, retry_after: None, shape: crate::sim::Shape::Openai };
    let cases = [
        (status, Failure::Status(503)),
        (FaultKind::Reset, Failure::Reset),
        (FaultKind::Close, Failure::Reset),
        (FaultKind::Die { after: 1 }, Failure::Truncated),
        (FaultKind::Truncate { after: 1 }, Failure::Truncated),
        (FaultKind::ErrorEvent { after: 1, code: 500 }, Failure::ErrorEvent),
        (FaultKind::Full, Failure::ErrorEvent),
        (FaultKind::Abort { after: 1 }, Failure::Aborted),
        (FaultKind::NoDone { after: None }, Failure::NoDone),
    ];
    for (fault, failure) in cases {
        let node = node(Options::default());
        node.set_fault(Fault::from(fault.clone()).times(3));
        let report = put(load(&[&node], 40, STREAM)).await;
        assert_eq!((report.succeeded, report.failed), (37, 3), "{fault:?}");
        assert_eq!(report.failures, [(failure, 3)].into(), "{fault:?}");
    }
}

#[tokio::test]
async fn refused_connections_timeouts_and_other_answers() {
    let node = node(Options::default());
    let dead = load(&[&node], 5, WHOLE);
    node.crash().await;
    assert_eq!(put(dead).await.failures, [(Failure::Connect, 5)].into());

    let node = self::node(Options::default());
    node.set_fault(FaultKind::Hang);
    let hangs = Load { timeout: Some(Duration::from_millis(20)), ..load(&[&node], 2, WHOLE) };
    assert_eq!(put(hangs).await.failures, [(Failure::Timeout, 2)].into());

    node.clear_faults();
    let body = Bytes::from(r#"{"messages":[{"role":"user","content":"x"}]}"#);
    let ask = Ask::Body { body, stream: true };
    assert_eq!(
        put(Load { ask, ..load(&[&node], 2, WHOLE) }).await.failures,
        [(Failure::NotAStream, 2)].into()
    );
}

#[tokio::test]
async fn a_stale_connection_is_a_failure_unless_the_client_may_resend() {
    let node = node(Options::default());
    for (again_if_stale, failed) in [(false, 2), (true, 0)] {
        node.set_fault(Fault::from(FaultKind::Stale).times(2));
        let report = put(Load { again_if_stale, concurrency: 1, ..load(&[&node], 20, WHOLE) }).await;
        assert_eq!((report.sent, report.failed), (20, failed));
    }
}

#[tokio::test]
async fn a_tally_counts_while_streams_are_open() {
    let node = node(Options { step: steps(5), stamp: true, ..Options::default() });
    let endless = Ask::Chat { tokens: Sizes::Fixed(1_000_000), stream: STREAM };
    let handle = Load { ask: endless, ..load(&[&node], 4, STREAM) }.start();
    while handle.tally().events() < 40 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(handle.tally().streams(), 4);
    let lags = handle.tally().take_lags();
    // the first event of a chat has neither a token nor a send time
    assert!(lags.len() >= 36 && lags.at(0.5) < Duration::from_secs(1), "{lags:?}");
    handle.cut();
    handle.finish().await;
}

#[tokio::test]
async fn stop_finishes_requests_in_flight_and_cut_does_not() {
    let node = node(Options { step: steps(5), ..Options::default() });
    let forever = Load { count: None, ..load(&[&node], 0, 0.5) };
    let handle = forever.clone().start();
    until(&node, |stats| stats.in_flight == 4).await;
    assert_eq!(handle.counts().in_flight, 4);
    handle.stop();
    let report = handle.finish().await;
    assert_eq!((report.failed, report.cut, report.sent), (0, 0, report.succeeded));

    let slow = Ask::Chat { tokens: Sizes::Fixed(1_000_000), stream: 0.5 };
    let handle = Load { ask: slow, ..forever.clone() }.start();
    until(&node, |stats| stats.in_flight == 4).await;
    handle.cut();
    let report = handle.finish().await;
    assert_eq!((report.sent, report.cut, report.failed), (4, 4, 0));
    until(&node, |stats| stats.in_flight == 0).await;

    let limited = Load { duration: Some(Duration::from_millis(50)), ..forever };
    assert!(put(limited).await.succeeded > 0);
}

/// A server of TLS in front of this node; its address, and what its clients trust.
async fn secured(node: &Node) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let (acceptor, node) = (TlsAcceptor::from(Arc::new(config)), node.addr());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = TcpStream::connect(node).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, made.cert.pem())
}

#[tokio::test]
async fn tls_over_kept_and_over_fresh_connections() {
    let node = node(Options::default());
    let (address, ca) = secured(&node).await;
    let over = |cipher, resumes, connections| {
        let tls = Some(Tls::new(&ca, "localhost", cipher, resumes).unwrap());
        Load { targets: vec![Target::chat(address)], tls, connections, ..load(&[], 40, 0.5) }
    };
    let seen = |report: Report| -> Vec<_> {
        assert_eq!(report.failures, [].into());
        report.handshakes.into_iter().map(|(agreed, count)| (agreed.to_string(), count)).collect()
    };
    let name = |terms: &str, count| (terms.to_owned(), count);
    let kept = seen(put(over(Cipher::Aes128, true, Connections::Kept)).await);
    assert_eq!(kept, [name("TLS13_AES_128_GCM_SHA256 X25519", 4)]);
    let anew = seen(put(over(Cipher::Aes256, false, Connections::Fresh)).await);
    assert_eq!(anew, [name("TLS13_AES_256_GCM_SHA384 X25519", 40)]);
    // each client remembers its own
    let [(_, whole), (terms, resumed)] = &seen(put(over(Cipher::Aes256, true, Connections::Fresh)).await)[..]
    else {
        panic!("all resumed, or none");
    };
    assert!(*whole <= 4 && whole + resumed == 40, "{whole} {resumed}");
    assert_eq!(terms, "TLS13_AES_256_GCM_SHA384 X25519 resumed");
}

#[tokio::test]
async fn another_certificate_is_a_failure() {
    let node = node(Options::default());
    let ((address, _), (_, other)) = (secured(&node).await, secured(&node).await);
    let tls = Some(Tls::new(&other, "localhost", Cipher::Aes128, true).unwrap());
    let report = put(Load { targets: vec![Target::chat(address)], tls, ..load(&[], 2, WHOLE) }).await;
    assert_eq!(report.failures, [(Failure::Handshake, 2)].into());
}

#[tokio::test]
async fn idle_connections_stay_until_the_load_is_cut() {
    let node = node(Options::default());
    let handle = Load { connections: Connections::Idle, ..load(&[&node], 4, WHOLE) }.start();
    until(&node, |stats| stats.succeeded == 4).await;
    assert_eq!(node.stats().accepted, 4);
    assert_eq!(node.stats().open, 4);
    handle.cut();
    assert_eq!(handle.finish().await.succeeded, 4);
}
