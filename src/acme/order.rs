//! One order: from the names to key and chain.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::account;
use super::failure::Failure;
use super::http::Https;
use crate::config::{Auto, Challenge};
use crate::tls::{Challenges, folder};

/// The longest that a server may take to look at the names, and to sign.
const POLL_MAX: Duration = Duration::from_secs(120);

/// Orders a certificate: its key and its chain as PEM.
pub(super) async fn certificate(challenges: &Challenges, conf: &Auto) -> Result<String, Failure> {
    // before anything is ordered that could not be kept
    folder::prepare(conf).map_err(Failure::new)?;
    let https = Https::new(conf.ca.as_deref()).map_err(Failure::new)?;
    let run = async |account: &Account| Ordering { challenges, conf, https: &https }.run(account).await;
    let account = match account::account(conf, &https).await {
        Err(failure) if failure.is_stranger => account::new(conf, &https).await,
        account => account,
    };
    match run(&account?).await {
        Err(failure) if failure.is_stranger => run(&account::new(conf, &https).await?).await,
        ordered => ordered,
    }
}

struct Ordering<'a> {
    challenges: &'a Challenges,
    conf: &'a Auto,
    https: &'a Https,
}

impl Ordering<'_> {
    async fn run(&self, account: &Account) -> Result<String, Failure> {
        let names: Vec<_> = self.conf.names.iter().cloned().map(Identifier::Dns).collect();
        let order = account.new_order(&NewOrder::new(&names)).await;
        let mut order = order.map_err(|error| self.failed(&error))?;
        self.prove(&mut order).await?;
        let policy = RetryPolicy::default().timeout(POLL_MAX);
        match order.poll_ready(&policy).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) => return Err(self.unproven(&mut order, None).await),
            Err(error) => return Err(self.unproven(&mut order, Some(error)).await),
        }
        let (key, request) = request(&self.conf.names).map_err(|error| Failure::new(error.to_string()))?;
        order.finalize_csr(&request).await.map_err(|error| self.failed(&error))?;
        let chain = order.poll_certificate(&policy).await.map_err(|error| self.failed(&error))?;
        Ok(key + &chain)
    }

    /// Makes the answers ready, and tells the server so. Names that it has looked at lately need none.
    async fn prove(&self, order: &mut Order) -> Result<(), Failure> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.failed(&error))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let kind = match self.conf.challenge {
                Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
                Challenge::Http01 => ChallengeType::Http01,
            };
            let Some(mut challenge) = authorization.challenge(kind) else {
                return Err(Failure::new(format!(
                    "{name}: the ACME server does not offer this `challenge`; try the other"
                )));
            };
            let answer = challenge.key_authorization();
            match self.conf.challenge {
                Challenge::TlsAlpn01 => {
                    let ready = self.challenges.answer_handshake(&name, answer.digest().as_ref());
                    ready.map_err(Failure::new)?;
                }
                Challenge::Http01 => self.challenges.answer_request(&challenge.token, answer.as_str()),
            }
            challenge.set_ready().await.map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// The reason why names were not proven: that of the first such name, where the server tells it.
    async fn unproven(&self, order: &mut Order, error: Option<Error>) -> Failure {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if authorization.refresh().await.is_err() {
                break;
            }
            let name = authorization.identifier().to_string();
            if let Some(problem) =
                authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref())
            {
                return Failure::refused(Some(&name), problem, self.conf.challenge, self.https.asked());
            }
        }
        let unknown = || Failure::new("the ACME server refuses the order, and gives no reason");
        error.map_or_else(unknown, |error| self.failed(&error))
    }

    fn failed(&self, error: &Error) -> Failure {
        Failure::of(error, self.conf.challenge, self.https.asked())
    }
}

/// A new key as PEM, and the request for its certificate.
fn request(names: &[String]) -> Result<(String, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    Ok((key.serialize_pem(), request.der().to_vec()))
}
