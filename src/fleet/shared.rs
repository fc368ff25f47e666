//! A node as an exchange of credits sees it.

use super::key::Key;
use super::want::CLASSES;

/// A node as an exchange of credits sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// For [`super::Pool::credit`], in this process alone.
    pub key: Key,
    /// The hash of pool and address: the same in every gateway and version.
    pub node: u64,
    /// `max_in_flight`. `None`: there is none, or each gateway learns its own (`auto`). Then nothing is held.
    pub cap: Option<u32>,
    /// The credits that are in use or may be used: never fewer than `in_flight`, if there is a cap.
    pub held: u32,
    /// Those of a node that left the config and came back under another name are among them.
    pub in_flight: u32,
    /// The most requests that the node may have from this gateway now, were all credits its own: 0 while it gets none.
    pub usable: u32,
    /// Requests that wait for a slot, by class, in the order of [`crate::config::Class::ALL`]. One that can use several nodes
    /// counts as an equal part on each of them; each sum is rounded up.
    pub waiting: [u32; CLASSES],
    /// It is ejected here: a hint to other gateways, see [`super::Pool::hint`].
    pub is_out: bool,
}
