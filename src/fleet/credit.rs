//! Credits: the part of a node's cap that this gateway may use, where several gateways share the node.

use siphasher::sip::SipHasher13;

use crate::config::NodeAddress;

/// The rights to a node that an exchange of credits gives this gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Its credits from now on; `None`: as many as before. A node without a cap of its own in the config has none.
    pub held: Option<u32>,
    /// Requests that other gateways have in flight on the node.
    pub elsewhere: u32,
}

/// SipHash-1-3 of a node's pool and address.
pub(super) fn identity(pool: &str, address: &NodeAddress) -> u64 {
    SipHasher13::new().hash(format!("{pool}\0{address}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Old and new gateways must agree while a fleet of them is upgraded one by one.
    #[test]
    fn identities_are_the_same_in_every_version() {
        let of = |pool, address: &str| identity(pool, &address.parse().expect("an address"));
        assert_eq!(of("vllm", "10.0.0.1:8000"), of("vllm", "http://10.0.0.1:8000"));
        assert_eq!(of("vllm", "10.0.0.1:8000"), 0x4a73_2467_8ed5_4d61);
        assert_ne!(of("ab", "c:1"), of("a", "bc:1"));
        assert_ne!(of("a", "10.0.0.1:8000"), of("b", "10.0.0.1:8000"));
        assert_ne!(of("a", "10.0.0.1:8000"), of("a", "https://10.0.0.1:8000"));
    }
}
