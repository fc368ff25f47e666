//! The account at an ACME server, kept in the state folder with its key.

use instant_acme::{Account, AccountCredentials, NewAccount};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::http::Https;
use crate::config::Auto;
use crate::tls::folder;

/// The file `account.json`. Nothing prints it: it has the account's private key.
#[derive(Serialize, Deserialize)]
struct Kept {
    contact: Vec<String>,
    credentials: AccountCredentials,
}

/// The account in the folder; one is made where there is none.
pub(super) async fn account(conf: &Auto, https: &Https) -> Result<Account, Failure> {
    match read(conf)? {
        Some(kept) => known(conf, https, kept).await,
        None => new(conf, https).await,
    }
}

/// Makes another account: the server does not know the old one.
pub(super) async fn new(conf: &Auto, https: &Https) -> Result<Account, Failure> {
    let contact = contact(conf);
    let shown: Vec<_> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount { contact: &shown, terms_of_service_agreed: true, only_return_existing: false };
    let builder = Account::builder_with_http(Box::new(https.clone()));
    let made = builder.create(&wanted, conf.directory.clone(), None).await;
    let (account, credentials) = made.map_err(|error| Failure::of(&error, conf.challenge, https.asked()))?;
    keep(conf, &Kept { contact, credentials })?;
    log::info!("{}: an account was made", conf.directory);
    Ok(account)
}

async fn known(conf: &Auto, https: &Https, kept: Kept) -> Result<Account, Failure> {
    let failed = |error: &_| Failure::of(error, conf.challenge, https.asked());
    let contact = contact(conf);
    let has_changed = contact != kept.contact;
    let builder = Account::builder_with_http(Box::new(https.clone()));
    let account = builder.from_credentials(kept.credentials).await.map_err(|error| failed(&error))?;
    if has_changed {
        let shown: Vec<_> = contact.iter().map(String::as_str).collect();
        account.update_contacts(&shown).await.map_err(|error| failed(&error))?;
        // the library keeps the credentials for itself
        if let Some(again) = read(conf)? {
            keep(conf, &Kept { contact, ..again })?;
        }
    }
    Ok(account)
}

fn contact(conf: &Auto) -> Vec<String> {
    conf.email.iter().map(|email| format!("mailto:{email}")).collect()
}

fn read(conf: &Auto) -> Result<Option<Kept>, Failure> {
    let file = folder::account_file(conf);
    let content = folder::read(&file)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", file.display())))?;
    let Some(content) = content else { return Ok(None) };
    // no error of the parser is told: it may hold a piece of the key
    let kept = serde_json::from_slice(&content).map(Some);
    kept.map_err(|_| {
        Failure::new(format!("{} is no account; remove it, and the gateway makes another", file.display()))
    })
}

fn keep(conf: &Auto, kept: &Kept) -> Result<(), Failure> {
    let file = folder::account_file(conf);
    let cannot =
        |why: &dyn std::fmt::Display| Failure::new(format!("cannot write {}: {why}", file.display()));
    let content = serde_json::to_vec_pretty(kept).map_err(|_| cannot(&"it is no JSON"))?;
    folder::write(&file, &content).map_err(|error| cannot(&error))
}
