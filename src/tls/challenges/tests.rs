//! Tests of the answers to an ACME server.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

const DIGEST: [u8; 32] = [7; 32];
/// id-pe-acmeIdentifier.
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// As an ACME server, which looks at the certificate itself.
#[derive(Debug)]
struct Lenient;

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn client(name: &str, protocols: &[&[u8]]) -> ClientConnection {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// The handshake that is chosen for this client; `None`: that of the listener.
fn chosen(challenges: &Challenges, client: &mut ClientConnection) -> Option<rustls::ServerConnection> {
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("memory");
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut hello.as_slice()).expect("memory");
    let accepted = acceptor.accept().ok().flatten().expect("a whole hello");
    let config = challenges.to_handshake(&accepted.client_hello())?;
    Some(accepted.into_connection(config).map_err(|(error, _)| error).expect("a handshake"))
}

#[test]
fn only_the_proof_of_a_known_name_is_chosen() {
    let challenges = Challenges::default();
    assert!(!challenges.has_some());
    challenges.answer_handshake("GW.example", &DIGEST).expect("a certificate");
    assert!(challenges.has_some());
    for (name, protocols, is_chosen) in [
        ("gw.example", &[PROTOCOL][..], true),
        ("gw.example", &[PROTOCOL, b"h2"], false),
        ("gw.example", &[b"h2", PROTOCOL], false),
        ("gw.example", &[b"http/1.1"], false),
        ("gw.example", &[], false),
        ("other.example", &[PROTOCOL], false),
        ("127.0.0.1", &[PROTOCOL], false),
    ] {
        let found = chosen(&challenges, &mut client(name, protocols));
        assert_eq!(found.is_some(), is_chosen, "{name}, {protocols:?}");
    }
    challenges.clear();
    assert!(!challenges.has_some());
    assert!(chosen(&challenges, &mut client("gw.example", &[PROTOCOL])).is_none());
}

#[test]
fn the_handshake_shows_the_digest() {
    let challenges = Challenges::default();
    challenges.answer_handshake("gw.example", &DIGEST).expect("a certificate");
    let mut client = client("gw.example", &[PROTOCOL]);
    let mut server = chosen(&challenges, &mut client).expect("the proof");
    while client.is_handshaking() {
        let (mut down, mut up) = (Vec::new(), Vec::new());
        while server.wants_write() {
            server.write_tls(&mut down).expect("memory");
        }
        let mut down = down.as_slice();
        while !down.is_empty() {
            client.read_tls(&mut down).expect("memory");
            client.process_new_packets().expect("a handshake");
        }
        while client.wants_write() {
            client.write_tls(&mut up).expect("memory");
        }
        server.read_tls(&mut up.as_slice()).expect("memory");
        server.process_new_packets().expect("a handshake");
    }
    assert_eq!(client.alpn_protocol(), Some(PROTOCOL));
    let chain = client.peer_certificates().expect("a certificate");
    let (_, shown) = X509Certificate::from_der(&chain[0]).expect("X.509");
    let proof = shown.extensions().iter().find(|one| one.oid.to_id_string() == ACME_IDENTIFIER);
    let proof = proof.expect("RFC 8737 section 3");
    assert!(proof.critical);
    assert_eq!(proof.value, [&[4, 32][..], &DIGEST].concat(), "an octet string");
    let names = shown.subject_alternative_name().expect("readable").expect("names");
    assert_eq!(format!("{:?}", names.value.general_names), r#"[DNSName("gw.example")]"#);
}

#[test]
fn requests_for_known_tokens_are_answered() {
    let challenges = Challenges::default();
    assert_eq!(challenges.to_request("/.well-known/acme-challenge/a"), None);
    challenges.answer_request("a", "a.thumb");
    challenges.answer_request("b", "b.thumb");
    for (path, answer) in [
        ("/.well-known/acme-challenge/a", Some("a.thumb")),
        ("/.well-known/acme-challenge/b", Some("b.thumb")),
        ("/.well-known/acme-challenge/c", None),
        ("/.well-known/acme-challenge/", None),
        ("/.well-known/acme-challenge/a/", None),
        ("/.well-known/acme-challenge", None),
        ("/x/.well-known/acme-challenge/a", None),
        ("/v1/models", None),
    ] {
        assert_eq!(challenges.to_request(path).as_deref(), answer, "{path}");
    }
    challenges.clear();
    assert_eq!(challenges.to_request("/.well-known/acme-challenge/a"), None);
}
