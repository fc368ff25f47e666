//! Answers to an ACME server that looks whether a name leads here, in memory: while an order runs there are some.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// The protocol of TLS-ALPN-01 (RFC 8737 section 6.2).
const PROTOCOL: &[u8] = b"acme-tls/1";
/// The path of HTTP-01 (RFC 8555 section 8.3).
const PATH: &str = "/.well-known/acme-challenge/";

/// The answers that are ready.
#[derive(Debug, Default)]
pub struct Challenges {
    ready: ArcSwap<Ready>,
    /// Looked at for each request and each handshake; what it hides is not.
    has_some: AtomicBool,
}

#[derive(Debug, Default, Clone)]
struct Ready {
    /// Key authorizations by token.
    requests: HashMap<String, String>,
    handshakes: HashMap<String, Arc<ServerConfig>>,
}

impl Challenges {
    /// The body for a request of HTTP-01, if the path asks for one that is known.
    pub fn to_request(&self, path: &str) -> Option<String> {
        if !self.has_some() {
            return None;
        }
        self.ready.load().requests.get(path.strip_prefix(PATH)?).cloned()
    }

    /// An order is under way.
    pub fn has_some(&self) -> bool {
        self.has_some.load(Ordering::Acquire)
    }

    /// For a client that offers the protocol of TLS-ALPN-01 alone, and asks for a name that is being proven.
    pub fn to_handshake(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut protocols = hello.alpn()?;
        if (protocols.next(), protocols.next()) != (Some(PROTOCOL), None) {
            return None;
        }
        self.ready.load().handshakes.get(&hello.server_name()?.to_ascii_lowercase()).cloned()
    }

    /// From now on a request for this token is answered.
    pub fn answer_request(&self, token: &str, answer: &str) {
        self.add(|ready| drop(ready.requests.insert(token.to_owned(), answer.to_owned())));
    }

    /// From now on a handshake for this name shows the digest (RFC 8737 section 3).
    pub fn answer_handshake(&self, name: &str, digest: &[u8]) -> Result<(), String> {
        let config = Arc::new(
            proof(name, digest).map_err(|error| format!("no certificate for TLS-ALPN-01: {error}"))?,
        );
        self.add(|ready| drop(ready.handshakes.insert(name.to_ascii_lowercase(), Arc::clone(&config))));
        Ok(())
    }

    fn add(&self, change: impl Fn(&mut Ready)) {
        self.ready.rcu(|ready| {
            let mut ready = Ready::clone(ready);
            change(&mut ready);
            ready
        });
        self.has_some.store(true, Ordering::Release);
    }

    /// The order has ended.
    pub fn clear(&self) {
        self.has_some.store(false, Ordering::Release);
        self.ready.store(Arc::default());
    }
}

fn proof(name: &str, digest: &[u8]) -> Result<ServerConfig, Box<dyn std::error::Error>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?.der().clone();
    let provider = Arc::new(ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = provider.key_provider.load_private_key(key.into())?;
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    // `with_single_cert` would refuse the extension, which is critical and which no client but an ACME server knows
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let mut config = builder.with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests;
