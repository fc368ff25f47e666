//! The schema of `tls` and `authorization`, of a pool or of a node. The files that they name are read here, once.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, InconsistentKeys, RootCertStore};

use super::address::NodeAddress;
use super::link::{Https, Id, Link, NodeKey, hash};
use super::model::HttpVersion;
use super::outside::Outside;
use super::raw::Raw;
use super::section::{Place, Section};
use super::values::{is_off, or_word, shown, text};

/// The `tls` of a pool, or of a node.
#[derive(Clone, Default)]
pub(super) struct Tls {
    ca: Option<Authorities>,
    sni: Option<ServerName<'static>>,
    identity: Option<Identity>,
}

#[derive(Clone)]
struct Authorities {
    store: Arc<RootCertStore>,
    id: Id,
}

/// The gateway's own certificate, for nodes that ask for one.
#[derive(Clone)]
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    id: Id,
}

/// Reads files, and makes each client of TLS once.
pub(super) struct Loader<'a> {
    outside: Outside<'a>,
    system: OnceCell<Result<Authorities, String>>,
    clients: RefCell<HashMap<Id, Arc<ClientConfig>>>,
}

impl Tls {
    /// The keys under `tls`; those that are missing there are `usual`.
    pub(super) fn of(s: &mut Section, usual: &Self, loader: &Loader) -> Self {
        s.section("tls", |s| {
            let ca = own(s, "ca", "system").or(&usual.ca, |place| place.read(|raw| loader.authorities(raw)));
            let sni = own(s, "sni", "auto").or(&usual.sni, |place| place.read(sni));
            let (cert, key) = (own(s, "cert", "off"), own(s, "key", "off"));
            s.rule("cert", &[], cert.is_given() || !key.is_given(), || {
                "is missing; `key` is its key".to_owned()
            });
            s.rule("key", &[], key.is_given() || !cert.is_given(), || {
                "is missing; `cert` needs it".to_owned()
            });
            let identity = match (cert, key) {
                (Own::Absent, Own::Absent) => usual.identity.clone(),
                (Own::Given(cert), Own::Given(key)) => loader.identity(&cert, &key),
                _ => None,
            };
            Self { ca, sni, identity }
        })
    }

    /// It says something.
    pub(super) fn is_any(&self) -> bool {
        self.ca.is_some() || self.sni.is_some() || self.identity.is_some()
    }

    /// The way to this address. The error is a message for people.
    pub(super) fn link(
        &self,
        address: &NodeAddress,
        version: HttpVersion,
        loader: &Loader,
    ) -> Result<Link, String> {
        match address {
            NodeAddress::Http(_) => Ok(Link::Tcp),
            NodeAddress::Unix(path) => Ok(Link::Unix(Arc::clone(path))),
            NodeAddress::Https(address) => self.https(version, loader)?.link(&address.host),
        }
    }

    /// The way to any node within TLS. The error is a message for people.
    pub(super) fn https(&self, version: HttpVersion, loader: &Loader) -> Result<Https, String> {
        let (client, id) = loader.client(self, version)?;
        Ok(Https::new(self.sni.clone(), client, id))
    }
}

/// The key under `authorization`; `usual` if there is none.
pub(super) fn authorization(s: &mut Section, usual: Option<&NodeKey>, loader: &Loader) -> Option<NodeKey> {
    let Some(place) = s.take("authorization") else { return usual.cloned() };
    if is_off(place.raw) {
        return None;
    }
    place.section()?.finish(|s| {
        let hint = "name the file that has the key, such as `file: /etc/evenkeel/node.key`";
        s.required("file", hint).and_then(|place| place.read(|raw| loader.key(raw)))
    })
}

impl<'a> Loader<'a> {
    pub(super) fn new(outside: Outside<'a>) -> Self {
        Self { outside, system: OnceCell::new(), clients: RefCell::default() }
    }

    fn read(&self, raw: &Raw) -> Result<Vec<u8>, String> {
        let path = text(raw)?;
        (self.outside.file)(Path::new(&path))
            .map_err(|error| format!("{} cannot be read: {error}", shown(raw)))
    }

    fn certificates(&self, raw: &Raw) -> Result<Vec<CertificateDer<'static>>, String> {
        let bytes = self.read(raw)?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match read {
            Ok(list) if !list.is_empty() => Ok(list),
            _ => Err(format!("{} has no certificate in PEM (-----BEGIN CERTIFICATE-----)", shown(raw))),
        }
    }

    fn authorities(&self, raw: &Raw) -> Result<Authorities, String> {
        let list = self.certificates(raw)?;
        Authorities::of(&list).map_err(|why| format!("{} has a certificate that is none: {why}", shown(raw)))
    }

    /// Those of the system. Some of them may be unknown to rustls, which others do without.
    fn system(&self) -> Result<Authorities, String> {
        let load = || {
            let mut list = (self.outside.authorities)();
            list.retain(|one| RootCertStore::empty().add(one.clone()).is_ok());
            match Authorities::of(&list) {
                Ok(authorities) if !list.is_empty() => Ok(authorities),
                _ => Err(
                    "the system knows no certificate authorities (ca-certificates); name yours in `tls.ca`"
                        .to_owned(),
                ),
            }
        };
        self.system.get_or_init(load).clone()
    }

    fn identity(&self, cert: &Place, key: &Place) -> Option<Identity> {
        let chain = cert.read(|raw| self.certificates(raw));
        let secret = key.read(|raw| {
            PrivateKeyDer::from_pem_slice(&self.read(raw)?).map_err(|_| {
                format!("{} has no private key in PEM; one with a passphrase cannot be read", shown(raw))
            })
        });
        let (chain, secret) = (chain?, secret?);
        let provider = rustls::crypto::ring::default_provider();
        if let Err(error) = CertifiedKey::from_der(chain.clone(), secret.clone_key(), &provider) {
            let file = shown(cert.raw);
            match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    key.problem(format!("{} is not the key of the certificate in {file}", shown(key.raw)));
                }
                Error::InvalidCertificate(_) => {
                    cert.problem(format!("{file} has a certificate that is none: {error}"))
                }
                _ => key.problem(format!("{} has a key that cannot be used: {error}", shown(key.raw))),
            }
            return None;
        }
        let id = hash(chain.iter().map(|one| &one[..]).chain([secret.secret_der()]));
        Some(Identity { chain, key: Arc::new(secret), id })
    }

    fn client(&self, tls: &Tls, version: HttpVersion) -> Result<(Arc<ClientConfig>, Id), String> {
        let ca = tls.ca.clone().map_or_else(|| self.system(), Ok)?;
        let alpn: &[u8] = match version {
            HttpVersion::H1 => b"http/1.1",
            HttpVersion::H2 => b"h2",
        };
        let own = tls.identity.as_ref().map(|identity| &identity.id[..]).unwrap_or_default();
        let id = hash([&ca.id[..], own, alpn]);
        if let Some(client) = self.clients.borrow().get(&id) {
            return Ok((Arc::clone(client), id));
        }
        let wrong = |error: Error| format!("TLS cannot be set up: {error}");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(wrong)?.with_root_certificates(ca.store);
        let mut client = match &tls.identity {
            None => builder.with_no_client_auth(),
            Some(own) => {
                builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key()).map_err(wrong)?
            }
        };
        client.alpn_protocols = vec![alpn.to_vec()];
        let client = Arc::new(client);
        self.clients.borrow_mut().insert(id, Arc::clone(&client));
        Ok((client, id))
    }

    /// A file with one line: a key, or a whole value of the field with its scheme. No message shows anything of it.
    fn key(&self, raw: &Raw) -> Result<NodeKey, String> {
        let wrong = |why: &str| format!("{} {why}", shown(raw));
        let bytes = self.read(raw)?;
        let line = bytes.trim_ascii();
        if line.is_empty() {
            return Err(wrong("is empty; write the node's key into it"));
        }
        let is_plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let line = std::str::from_utf8(line).ok().filter(|line| line.bytes().all(|byte| is_plain(&byte)));
        let line = line.ok_or_else(|| {
            wrong("is not one line of ASCII; write the node's key into it, and nothing else")
        })?;
        let value = if line.contains(' ') { line.to_owned() } else { format!("Bearer {line}") };
        NodeKey::new(&value).ok_or_else(|| wrong("has a key that cannot stand in a header"))
    }
}

impl Authorities {
    fn of(list: &[CertificateDer<'static>]) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        for one in list {
            store.add(one.clone()).map_err(|error| error.to_string())?;
        }
        Ok(Self { store: Arc::new(store), id: hash(list.iter().map(|one| &one[..])) })
    }
}

/// The entry of a key that a node has of its own, or its pool.
enum Own<'a> {
    /// The pool's holds.
    Absent,
    /// The word for the default, whatever the pool has.
    Default,
    Given(Place<'a>),
}

impl<'a> Own<'a> {
    fn is_given(&self) -> bool {
        matches!(self, Self::Given(_))
    }

    fn or<T: Clone>(self, usual: &Option<T>, read: impl FnOnce(Place<'a>) -> Option<T>) -> Option<T> {
        match self {
            Self::Absent => usual.clone(),
            Self::Default => None,
            Self::Given(place) => read(place),
        }
    }
}

/// The entry of this key; `word` is that for the default.
fn own<'a>(s: &mut Section<'a>, key: &'static str, word: &str) -> Own<'a> {
    match s.take(key) {
        None => Own::Absent,
        Some(place) if or_word(word, |_| Err::<(), _>(String::new()))(place.raw).is_ok() => Own::Default,
        Some(place) => Own::Given(place),
    }
}

/// A host name. With an IP address no SNI would be sent.
fn sni(raw: &Raw) -> Result<ServerName<'static>, String> {
    match ServerName::try_from(text(raw)?) {
        Ok(name @ ServerName::DnsName(_)) => Ok(name),
        _ => Err(format!(
            "{} is not a host name; write the one that the node's certificate is for",
            shown(raw)
        )),
    }
}
