//! Clients' keys: whose a request is, what it may ask for, its limits, and what it has used.
//!
//! A key is 32 random bytes, so that its SHA-256 alone finds it: nobody can try all of them, and neither a salt nor a slow hash
//! would make that any harder. The hash that is found is compared once more, in constant time; the time that a hash table takes
//! depends on the hash of what was sent, of which a client can choose no part.
//!
//! The file of keys is read by adapters ([`crate::config::ApiKey::load`]), never on a request's way: requests look into a
//! [`Keyring`] that is swapped as a whole. What a key has used belongs to its name, and stays when the file changes.

mod account;
mod bearer;
mod bucket;
mod demand;
mod ring;
mod share;
#[cfg(test)]
mod tests;
mod token;
mod told;

pub use account::{Account, Limit, Limited, Quota, Slot, Standing, Used};
pub use bearer::{Bearer, Denial, Denied};
pub use bucket::{Bucket, PARTS};
pub use demand::{LimitShare, Part};
pub use ring::{Key, Keyring, REST, Usage};
pub use share::KeyShare;
pub use token::{FIELDS, bearer, flow, hash, is_field, presented, token};
pub use told::fields;
