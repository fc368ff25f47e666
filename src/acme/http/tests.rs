//! Tests of the client against a server that gives one answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use rcgen::generate_simple_self_signed;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

/// A server that answers every connection with these bytes; it ends with the set.
async fn server(answer: String, tasks: &mut JoinSet<()>) -> (SocketAddr, TempDir, PathBuf) {
    let made = generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let folder = TempDir::new().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).expect("a file");
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = builder.with_single_cert(vec![made.cert.der().clone()], key.into()).expect("a certificate");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("its own");
    tasks.spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.unwrap_or_default();
            let said = String::from_utf8_lossy(&head[..read]);
            assert!(
                said.contains(&format!("\r\nhost: {address}\r\n")) && said.contains(" /dir?a HTTP/1.1\r\n"),
                "{said}"
            );
            // the client may have heard enough
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, folder, ca)
}

fn request(method: Method, url: &str) -> Request<BodyWrapper<Bytes>> {
    Request::builder().method(method).uri(url).body(BodyWrapper::default()).expect("a request")
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The status and the body, or the error.
async fn ask(https: &Https, method: Method, url: &str) -> Result<(u16, Bytes), String> {
    let got = https.request(request(method, url)).await.map_err(|error| error.to_string())?;
    let (status, mut body) = (got.parts.status.as_u16(), got.body);
    Ok((status, body.into_bytes().await.map_err(|error| error.to_string())?))
}

#[tokio::test]
async fn each_answer() {
    let problem = "\r\nContent-Type: application/problem+json; charset=utf-8";
    let soon = httpdate::fmt_http_date(std::time::SystemTime::now() + HOUR);
    for (method, answer, got, asked) in [
        (Method::GET, answer("200 OK\r\nRetry-After: 60", "{}"), Ok(200), None),
        (Method::GET, answer("503 Away\r\nRetry-After: 3600", "<html>"), Err("answers 503"), Some(HOUR)),
        (Method::POST, answer("502 Away", "<html>"), Err("answers 502"), None),
        (
            Method::POST,
            answer(&format!("429 Many{problem}\r\nRetry-After: {soon}"), "{}"),
            Ok(429),
            Some(HOUR),
        ),
        (Method::POST, answer(&format!("400 No{problem}"), "{}"), Ok(400), None),
        (
            Method::GET,
            answer(&format!("429 Many{problem}\r\nRetry-After: never"), "{}"),
            Err("answers 429"),
            None,
        ),
        (Method::GET, answer("200 OK", &"x".repeat(BODY_MAX + 1)), Err("length limit exceeded"), None),
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}".to_owned(), Err("broke off"), None),
        (Method::GET, String::new(), Err("the ACME server"), None),
    ] {
        let mut tasks = JoinSet::new();
        let (address, _folder, ca) = server(answer.clone(), &mut tasks).await;
        let https = Https::new(Some(&ca)).expect("an authority");
        let shown: String = answer.chars().take(60).collect();
        match (ask(&https, method, &format!("https://{address}/dir?a")).await, got) {
            (Ok((status, body)), Ok(expected)) => {
                assert_eq!((status, &*body), (expected, &b"{}"[..]), "{shown}")
            }
            (Err(error), Err(says)) => assert!(error.contains(says), "{shown}: {error}"),
            (got, _) => panic!("{shown}: {got:?}"),
        }
        // a date has no parts of a second
        let rest = asked.map(|asked| asked - https.asked().expect("a pause"));
        assert!(rest.is_none_or(|rest| rest < Duration::from_secs(30)), "{shown}: {rest:?}");
        assert_eq!(https.asked().is_some(), asked.is_some(), "{shown}");
    }
}

#[tokio::test]
async fn servers_that_are_not_trusted_or_not_there() {
    let mut tasks = JoinSet::new();
    let (address, _folder, _) = server(answer("200 OK", "{}"), &mut tasks).await;
    let (_, _other, ca) = server(String::new(), &mut tasks).await;
    let https = Https::new(Some(&ca)).expect("an authority");
    let error =
        ask(&https, Method::GET, &format!("https://{address}/")).await.expect_err("another authority");
    assert!(
        error.starts_with(&format!("no TLS with the ACME server {address}: invalid peer certificate")),
        "{error}"
    );
    let error = ask(&https, Method::GET, &format!("http://{address}/")).await.expect_err("no TLS");
    assert!(error.contains("not https://"), "{error}");
    let free =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port").local_addr().expect("its own");
    let error = ask(&https, Method::GET, &format!("https://{free}/")).await.expect_err("nobody is there");
    assert!(error.contains("cannot be reached: Connection refused"), "{error}");
    let error = Https::new(Some(&ca.with_extension("no"))).err().expect("no such file");
    assert!(error.contains("ca.no: "), "{error}");
}
