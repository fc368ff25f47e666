//! The TLS of all addresses that are listened on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use pingora::protocols::Stream;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use super::auto::Auto;
use super::certificate::{Certificate, Fault, Loaded, chain, load};
use super::names::ByName;
use crate::config::{self, ClientAuth, Config, Listening, TlsVersion};

/// The best first (ALPN, RFC 7301); the admin address speaks all but the first. A client may offer HTTP/1.0 alone, as curl does.
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1", b"http/1.0"];

/// TLS by the address that a client has connected to.
#[derive(Debug, Default)]
pub struct Listeners {
    by_address: Vec<(SocketAddr, Arc<ServerConfig>)>,
    certificates: Vec<Certificate>,
    autos: Vec<Arc<Auto>>,
    files: Vec<PathBuf>,
    admin_names: Vec<String>,
}

impl Listeners {
    /// Reads all files that the config names; or every problem with them, by path in the config.
    pub fn load(config: &Config, now: SystemTime) -> Result<Self, Vec<(String, String)>> {
        Self::default().next(config, now)
    }

    /// The same for another reading. Certificates that the gateway gets by itself go over to it: one that is in use may be nowhere else.
    pub fn next(&self, config: &Config, now: SystemTime) -> Result<Self, Vec<(String, String)>> {
        let provider = Arc::new(ring::default_provider());
        let (mut listeners, mut faults) = (Self::default(), Vec::new());
        let earlier = &self.autos;
        let for_clients =
            config.server.listen.iter().map(|listener| (listener.address, &listener.tls, PROTOCOLS));
        let admin =
            config.server.admin.address.map(|address| (address, &config.server.admin.tls, &PROTOCOLS[1..]));
        for (address, tls, protocols) in for_clients.chain(admin) {
            let Some(tls) = tls else { continue };
            listeners.files.extend(files(tls));
            let auto = match tls.auto.as_ref().map(|auto| listeners.auto(earlier, auto, now)).transpose() {
                Ok(auto) => auto,
                Err(more) => {
                    faults.extend(more);
                    continue;
                }
            };
            let is_admin = Some(address) == config.server.admin.address;
            if let Some(auto) = auto.as_ref().filter(|_| is_admin) {
                listeners.admin_names.extend_from_slice(&auto.conf().names);
            }
            match server_config(tls, protocols, auto.as_ref(), &provider, now) {
                Ok((ready, loaded)) => {
                    listeners.by_address.push((address, Arc::new(ready)));
                    for Loaded { shown, .. } in loaded {
                        if is_admin {
                            listeners.admin_names.extend_from_slice(&shown.names);
                        }
                        if !listeners.certificates.contains(&shown) {
                            listeners.certificates.push(shown);
                        }
                    }
                }
                Err(more) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(listeners) } else { Err(faults) }
    }

    /// No address has TLS.
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// For this connection, by the address that it came to.
    pub fn of(&self, stream: &Stream) -> Option<Arc<ServerConfig>> {
        if self.is_empty() {
            return None;
        }
        let local = stream.get_socket_digest()?.local_addr()?.as_inet().copied()?;
        self.at(local).cloned()
    }

    /// For connections to this address of the machine. `0.0.0.0` takes no connection of IPv6, and `[::]` sees those of IPv4 as mapped ones.
    fn at(&self, local: SocketAddr) -> Option<&Arc<ServerConfig>> {
        let is_any =
            |listens: &SocketAddr| listens.ip().is_unspecified() && listens.is_ipv4() == local.is_ipv4();
        let is_it = |listens: &SocketAddr| {
            listens.port() == local.port() && (listens.ip() == local.ip() || is_any(listens))
        };
        self.by_address.iter().find(|(listens, _)| is_it(listens)).map(|(_, config)| config)
    }

    /// The names in the certificates of the admin address.
    pub fn admin_names(&self) -> &[String] {
        &self.admin_names
    }

    /// All files that were read, but those that the gateway writes itself.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Those of files in the order of the config, then those that the gateway gets by itself.
    pub fn certificates(&self) -> Vec<Certificate> {
        let autos = self.autos.iter().map(|auto| auto.certificate());
        self.certificates.iter().cloned().chain(autos).collect()
    }

    /// Those that the gateway gets by itself.
    pub fn autos(&self) -> &[Arc<Auto>] {
        &self.autos
    }

    /// The one of another listener or of an earlier reading, or a new one.
    fn auto(
        &mut self,
        earlier: &[Arc<Auto>],
        conf: &config::Auto,
        now: SystemTime,
    ) -> Result<Arc<Auto>, Vec<Fault>> {
        let same = |known: &&Arc<Auto>| known.conf().is_same(conf);
        if let Some(known) = self.autos.iter().find(same) {
            return Ok(Arc::clone(known));
        }
        // read in any case, for its problems
        let read = Arc::new(Auto::load(conf, now)?);
        let auto = match earlier.iter().find(same) {
            Some(earlier) => {
                earlier.adopt(&read);
                Arc::clone(earlier)
            }
            None => read,
        };
        self.autos.push(Arc::clone(&auto));
        Ok(auto)
    }
}

fn files(tls: &Listening) -> impl Iterator<Item = PathBuf> {
    let pairs = tls.certificates.iter().flat_map(|files| [&files.cert, &files.key]);
    pairs.chain(tls.client_auth.iter().map(|auth| &auth.ca)).cloned()
}

fn server_config(
    tls: &Listening,
    protocols: &[&[u8]],
    auto: Option<&Arc<Auto>>,
    provider: &Arc<CryptoProvider>,
    now: SystemTime,
) -> Result<(ServerConfig, Vec<Loaded>), Vec<Fault>> {
    let loaded = tls.certificates.iter().map(|files| load(files, provider, now));
    let (loaded, mut faults): (Vec<_>, Vec<_>) = loaded.partition(Result::is_ok);
    let loaded: Vec<Loaded> = loaded.into_iter().flatten().collect();
    let mut faults: Vec<Fault> = faults.drain(..).filter_map(Result::err).collect();
    let verifier = tls.client_auth.as_ref().map(|auth| verifier(auth, provider)).transpose();
    let verifier = verifier.map_err(|fault| faults.push(fault)).unwrap_or_default();
    if !faults.is_empty() {
        return Err(faults);
    }
    let versions: &[_] = match tls.min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(versions);
    let builder = builder.map_err(|error| vec![impossible(tls, &error.to_string())])?;
    let is_open = verifier.is_none();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(&loaded, auto)));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    if is_open {
        config.ticketer = ticketer().map_err(|error| vec![impossible(tls, &error)])?;
    }
    Ok((config, loaded))
}

fn impossible(tls: &Listening, why: &str) -> Fault {
    let first = tls.certificates.first().map(|files| &files.place);
    let place = first.or(tls.auto.as_ref().map(|auto| &auto.place)).cloned().unwrap_or_default();
    (place, format!("TLS cannot be used: {why}"))
}

fn verifier(auth: &ClientAuth, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let wrong = |message| (auth.place.clone(), message);
    let mut roots = RootCertStore::empty();
    for certificate in chain(&auth.ca).map_err(wrong)? {
        roots.add(certificate).map_err(|error| wrong(format!("{}: {error}", auth.ca.display())))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if auth.is_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| wrong(format!("{}: {error}", auth.ca.display())))
}

/// Session tickets (RFC 8446 section 4.6.1) stay good over a reload: one of new certificates would otherwise cost each client a whole
/// handshake. Where clients have certificates there are none, so that a reload of the authorities holds for all.
fn ticketer() -> Result<Arc<dyn ProducesTickets>, String> {
    static TICKETER: OnceLock<Arc<dyn ProducesTickets>> = OnceLock::new();
    if let Some(ticketer) = TICKETER.get() {
        return Ok(Arc::clone(ticketer));
    }
    let made = ring::Ticketer::new().map_err(|error| error.to_string())?;
    Ok(Arc::clone(TICKETER.get_or_init(|| made)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_its_own_address() {
        let config = || {
            let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
            let builder =
                builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
            Arc::new(builder.with_cert_resolver(Arc::new(ByName::new(&[], None))))
        };
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let (four, six, one) = (config(), config(), config());
        let by_address = vec![
            (address("0.0.0.0:443"), Arc::clone(&four)),
            (address("[::]:443"), Arc::clone(&six)),
            (address("127.0.0.1:444"), Arc::clone(&one)),
        ];
        let listeners = Listeners { by_address, ..Listeners::default() };
        for (local, want) in [
            ("10.0.0.1:443", Some(&four)),
            ("[fd00::1]:443", Some(&six)),
            ("[::ffff:10.0.0.1]:443", Some(&six)),
            ("127.0.0.1:444", Some(&one)),
            ("10.0.0.1:444", None),
        ] {
            let found = listeners.at(address(local));
            assert!(
                found.zip(want).map_or(found.is_none() && want.is_none(), |(a, b)| Arc::ptr_eq(a, b)),
                "{local}"
            );
        }
    }
}
