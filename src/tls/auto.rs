//! A certificate that the gateway gets by itself: the one in use now, which a renewal replaces under a listener that goes on.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::certificate::{Certificate, Fault, Loaded, chain, describe};
use super::folder;
use super::renewal::Renewal;
use crate::config;

/// The lifetime of a stand-in: an end so near shows that it is no real certificate.
const STAND_IN_FOR: Duration = Duration::from_hours(24);

/// One `auto` of the config; listeners that name the same share it.
#[derive(Debug)]
pub struct Auto {
    conf: config::Auto,
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    loaded: Loaded,
    /// Signed by the gateway itself, so that the address can be listened on.
    is_stand_in: bool,
}

/// A certificate that has been checked.
#[derive(Debug)]
pub struct Renewed(Loaded);

/// The lifetime of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub from: SystemTime,
    pub until: SystemTime,
}

impl Auto {
    /// With the certificate in the state folder, or else a stand-in.
    pub(super) fn load(conf: &config::Auto, now: SystemTime) -> Result<Self, Vec<Fault>> {
        let at_state = || conf.state_place.as_ref().unwrap_or(&conf.place).clone();
        let authorities = conf.ca.as_ref().map_or(Ok(()), |ca| chain(ca).map(drop));
        let faults = authorities.map_err(|message| (format!("{}.ca", conf.place), message)).err();
        let found = folder::check(conf).and_then(|()| read(conf, now));
        let found = match found {
            Ok(found) => found,
            Err(message) => return Err(faults.into_iter().chain([(at_state(), message)]).collect()),
        };
        if let Some(fault) = faults {
            return Err(vec![fault]);
        }
        let current = match found {
            Some(loaded) => Current { loaded, is_stand_in: false },
            None => {
                let loaded =
                    stand_in(conf, now).map_err(|error| vec![(conf.place.clone(), error.to_string())])?;
                Current { loaded, is_stand_in: true }
            }
        };
        Ok(Self { conf: conf.clone(), current: ArcSwap::from_pointee(current) })
    }

    pub fn conf(&self) -> &config::Auto {
        &self.conf
    }

    /// The one in use.
    pub fn certificate(&self) -> Certificate {
        let current = self.current.load();
        let renewal = Renewal { is_pending: current.is_stand_in, ..Renewal::default() };
        Certificate { renewal: Some(renewal), ..current.loaded.shown.clone() }
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.load().loaded.key)
    }

    /// `None`: there is no certificate yet that is for all names.
    pub fn validity(&self) -> Option<Validity> {
        let current = self.current.load();
        let shown = &current.loaded.shown;
        let is_one = !current.is_stand_in && covers(&self.conf, shown);
        is_one.then_some(Validity { from: shown.not_before, until: shown.not_after })
    }

    /// A new key and chain, ready for use; or what is wrong with them.
    pub fn check(&self, pem: &[u8], now: SystemTime) -> Result<Renewed, String> {
        let loaded = parse(&self.conf, pem, now)?;
        if !covers(&self.conf, &loaded.shown) {
            return Err("the certificate is not for all names that were asked for".to_owned());
        }
        if loaded.shown.not_after <= now {
            return Err("the certificate has expired already; is the clock right?".to_owned());
        }
        Ok(Renewed(loaded))
    }

    /// Puts it in use, from the next handshake on.
    pub fn install(&self, renewed: Renewed) {
        self.current.store(Arc::new(Current { loaded: renewed.0, is_stand_in: false }));
    }

    /// Looks into the state folder for a certificate that is good for longer, and puts it in use. True if there was one.
    pub fn reread(&self, now: SystemTime) -> bool {
        read(&self.conf, now).ok().flatten().is_some_and(|found| self.install_better(found))
    }

    /// Takes over another one's certificate, if that is good for longer.
    pub(super) fn adopt(&self, other: &Self) {
        let other = other.current.load();
        if !other.is_stand_in {
            self.install_better(other.loaded.clone());
        }
    }

    fn install_better(&self, found: Loaded) -> bool {
        let is_better = covers(&self.conf, &found.shown)
            && self.validity().is_none_or(|validity| validity.until < found.shown.not_after);
        if is_better {
            self.install(Renewed(found));
        }
        is_better
    }
}

fn covers(conf: &config::Auto, shown: &Certificate) -> bool {
    conf.names.iter().all(|name| shown.names.contains(name))
}

fn read(conf: &config::Auto, now: SystemTime) -> Result<Option<Loaded>, String> {
    let file = conf.file();
    let content = folder::read(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let parsed = content.map(|content| parse(conf, &content, now)).transpose();
    parsed.map_err(|message| format!("{message}; remove the file, and the gateway gets another certificate"))
}

/// A key and the chain of its certificate, which may have expired: an old one is better than none.
fn parse(conf: &config::Auto, pem: &[u8], now: SystemTime) -> Result<Loaded, String> {
    let file = conf.file();
    let shown = file.display();
    // no error of the parser is told: it may hold a piece of the key
    let key =
        PrivateKeyDer::from_pem_slice(pem).map_err(|_| format!("{shown} has no private key in PEM form"))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|_| format!("{shown} is not valid PEM"))?;
    let first = chain.first().ok_or_else(|| format!("{shown} has no certificate in PEM form"))?;
    let described = describe(first, &file)?;
    if described.not_before > now {
        return Err(format!("{shown}: the certificate is not valid yet; is the clock right?"));
    }
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|_| format!("{shown}: its key and its certificate do not belong together"))?;
    Ok(Loaded { shown: described, key: Arc::new(key) })
}

fn stand_in(conf: &config::Auto, now: SystemTime) -> Result<Loaded, Box<dyn std::error::Error>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(conf.names.clone())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "evenkeel: no certificate yet");
    (params.not_before, params.not_after) = (now.into(), (now + STAND_IN_FOR).into());
    let certificate = params.self_signed(&key)?.der().clone();
    let shown = describe(&certificate, &conf.file())?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = CertifiedKey::from_der(vec![certificate], key.into(), &ring::default_provider())?;
    Ok(Loaded { shown, key: Arc::new(key) })
}

#[cfg(test)]
mod tests;
