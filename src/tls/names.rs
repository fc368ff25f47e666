//! The certificate for the name that a client asks for (SNI, RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::auto::Auto;
use super::certificate::Loaded;

/// The certificates of a listener by the names that they are for.
#[derive(Debug)]
pub(super) struct ByName {
    /// Names, and wildcards as they are written (`*.example.org`). Several may be for one: of RSA and ECDSA, for instance.
    by_name: HashMap<String, Vec<Source>>,
    /// The order of the config: where no name fits, the first one that the client can check.
    all: Vec<Source>,
}

/// A certificate of a listener.
#[derive(Debug, Clone)]
enum Source {
    Fixed(Arc<CertifiedKey>),
    /// A renewal replaces it.
    Auto(Arc<Auto>),
}

impl Source {
    fn key(&self) -> Arc<CertifiedKey> {
        match self {
            Self::Fixed(key) => Arc::clone(key),
            Self::Auto(auto) => auto.key(),
        }
    }
}

impl ByName {
    pub(super) fn new(loaded: &[Loaded], auto: Option<&Arc<Auto>>) -> Self {
        let fixed = loaded.iter().map(|one| (&one.shown.names, Source::Fixed(Arc::clone(&one.key))));
        let auto = auto.map(|auto| (&auto.conf().names, Source::Auto(Arc::clone(auto))));
        let (mut by_name, mut all): (HashMap<String, Vec<_>>, Vec<_>) = (HashMap::new(), Vec::new());
        for (names, source) in fixed.chain(auto) {
            for name in names {
                by_name.entry(name.clone()).or_default().push(source.clone());
            }
            all.push(source);
        }
        Self { by_name, all }
    }

    /// Those for this name: its own, else those of a wildcard, which stands for one label (RFC 9525 section 6.3).
    fn of(&self, name: &str) -> Option<&Vec<Source>> {
        let name = name.to_ascii_lowercase();
        self.by_name.get(&name).or_else(|| self.by_name.get(&format!("*.{}", name.split_once('.')?.1)))
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fitting = hello.server_name().and_then(|name| self.of(name)).unwrap_or(&self.all);
        let checkable = |key: &Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        fitting.iter().map(Source::key).find(checkable)
    }
}
