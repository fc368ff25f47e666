//! The admin address beyond loopback: TLS, tokens and their roles; and the pages of other sites, which reach no button.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::{Authority, Gateway, Raw, free_port, nodes, pool, run};

const READS: &str = "read-token-0123456789abcdef-0123";
const OPERATES: &str = "operate-token-0123456789abcdef-0";
const REGISTERS: &str = "register-token-0123456789abcdef-";
const DRAIN: &str = "/api/nodes/p/a/drain";

struct Guarded {
    gateway: Gateway,
    authority: Authority,
    port: u16,
    _directory: TempDir,
}

impl Guarded {
    async fn start() -> Guarded {
        let (directory, authority) = (TempDir::new().unwrap(), Authority::new());
        let path = directory.path();
        let files = authority.sign(path, "admin", &["gw.example", "127.0.0.1"], 1);
        for (name, token) in [("read", READS), ("operate", OPERATES), ("register", REGISTERS)] {
            std::fs::write(path.join(name), token).unwrap();
        }
        let port = free_port();
        let (yaml, path) = (files.yaml(), path.display());
        let admin = format!(
            "admin: {{ address: \"0.0.0.0:{port}\", tls: {{ {yaml} }}, tokens: [{{ role: read, file: \"{path}/read\" }}, \
             {{ role: operate, file: \"{path}/operate\" }}, {{ role: register, file: \"{path}/register\" }}] }}"
        );
        let gateway = Gateway::with(
            &(admin + ", state: off"),
            &pool("p", &nodes(1), "sources: [{ registration: on }]"),
        )
        .await;
        Guarded { gateway, authority, port, _directory: directory }
    }

    /// The status of the answer to a request with these fields, and its text.
    async fn ask(&self, line: &str, fields: &[String]) -> (u16, String) {
        self.send(line, fields, "").await
    }

    async fn send(&self, line: &str, fields: &[String], body: &str) -> (u16, String) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let config = Arc::new(self.authority.client(&[&TLS13, &TLS12], None));
        let name = ServerName::try_from("gw.example").unwrap();
        let mut stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let length = body.len();
        let request =
            format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default(), answer)
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[test]
fn a_token_opens_what_its_role_may() {
    run(async {
        let guarded = Guarded::start().await;
        let (get, order) = (|path: &str| format!("GET {path}"), format!("POST {DRAIN}"));
        let wrong = "x".repeat(32);
        for (line, none, reads, registers, operates) in [
            (get("/livez"), 200, 200, 200, 200),
            (get("/readyz"), 200, 200, 200, 200),
            (get("/metrics"), 401, 200, 403, 200),
            (get("/api/status"), 401, 200, 403, 200),
            (get("/api/requests"), 401, 200, 403, 200),
            (get("/"), 401, 200, 403, 200),
            (get("/nothing"), 401, 404, 403, 404),
            (order, 401, 403, 403, 200),
            ("POST /api/requests/1/cancel".to_owned(), 401, 403, 403, 404),
            // nodes: one that says nothing of itself, and one that is not there
            ("POST /api/nodes".to_owned(), 401, 403, 400, 400),
            ("DELETE /api/nodes/p/x".to_owned(), 401, 403, 404, 404),
        ] {
            for (token, want) in [
                (None, none),
                (Some(&*wrong), none),
                (Some(READS), reads),
                (Some(REGISTERS), registers),
                (Some(OPERATES), operates),
            ] {
                let fields: Vec<_> =
                    ["Host: gw.example".to_owned()].into_iter().chain(token.map(bearer)).collect();
                let (status, answer) = guarded.ask(&line, &fields).await;
                assert_eq!(status, want, "{line} with {token:?}: {answer}");
                assert_eq!(
                    status == 401,
                    answer.to_lowercase().contains("www-authenticate: basic"),
                    "{answer}"
                );
                let secrets = [&*wrong, READS, REGISTERS, OPERATES];
                assert!(!secrets.iter().any(|secret| answer.contains(secret)), "{answer}");
            }
        }
        // a browser's form of it: any name, and the token as the password
        let basic = "Authorization: Basic b3BzOnJlYWQtdG9rZW4tMDEyMzQ1Njc4OWFiY2RlZi0wMTIz".to_owned();
        assert_eq!(guarded.ask("GET /api/status", &["Host: gw.example".to_owned(), basic]).await.0, 200);
        assert!(guarded.gateway.node("a").drain.names() == ["operator"]);
    });
}

#[test]
fn a_node_registers_over_tls_by_its_port_alone() {
    run(async {
        let guarded = Guarded::start().await;
        let fields = ["Host: gw.example".to_owned(), bearer(REGISTERS)];
        let (status, answer) = guarded.send("POST /api/nodes", &fields, r#"{"port": 7}"#).await;
        assert_eq!(status, 201, "{answer}");
        assert!(answer.contains(r#""address": "127.0.0.1:7""#), "{answer}");
        let (status, answer) = guarded.send("DELETE /api/nodes", &fields, r#"{"port": 7}"#).await;
        assert_eq!(status, 200, "{answer}");
    });
}

/// A browser sends what it knows of a password by itself, so a token alone does not show who asks.
#[test]
fn pages_of_other_sites_reach_no_button_in_spite_of_the_token() {
    run(async {
        let guarded = Guarded::start().await;
        let port = guarded.port;
        let own = format!("gw.example:{port}");
        for (fields, want) in [
            (vec![format!("Host: {own}")], 200),
            (
                vec![
                    format!("Host: {own}"),
                    format!("Origin: https://{own}"),
                    "Sec-Fetch-Site: same-origin".to_owned(),
                ],
                200,
            ),
            // a form or a script of another site
            (vec![format!("Host: {own}"), "Origin: https://evil.example".to_owned()], 403),
            (vec![format!("Host: {own}"), "Origin: null".to_owned()], 403),
            (vec![format!("Host: {own}"), "Sec-Fetch-Site: cross-site".to_owned()], 403),
            (vec![format!("Host: {own}"), "Sec-Fetch-Site: same-site".to_owned()], 403),
            // a name of another site that leads here
            (vec!["Host: evil.example".to_owned(), "Origin: https://evil.example".to_owned()], 403),
            (vec!["Host: evil.example".to_owned(), "Sec-Fetch-Site: same-origin".to_owned()], 403),
            (vec![], 403),
        ] {
            let fields: Vec<_> = fields.into_iter().chain([bearer(OPERATES)]).collect();
            for line in [format!("POST {DRAIN}"), "GET /api/status".to_owned()] {
                assert_eq!(guarded.ask(&line, &fields).await.0, want, "{line} {fields:?}");
            }
        }
    });
}

/// Neither a plain request nor one that says nothing gets anything there.
#[test]
fn without_tls_there_is_no_answer() {
    run(async {
        let guarded = Guarded::start().await;
        let mut raw = Raw::to(([127, 0, 0, 1], guarded.port).into()).await;
        raw.write(format!("GET /api/status HTTP/1.1\r\nHost: gw.example\r\n{}\r\n\r\n", bearer(READS))).await;
        assert!(raw.rest().await.0.is_empty());
    });
}
