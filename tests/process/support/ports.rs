//! Choosing ports that no other process takes: below the ephemeral range, spread by process id, tried before use.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;
/// Distance between the first ports of test processes with neighbouring ids.
const APART: u32 = 97;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A free port of the loopback interface, never the same twice in one process.
pub(crate) fn free() -> SocketAddr {
    loop {
        let count = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(count < COUNT, "no free port");
        let offset = std::process::id().wrapping_mul(APART).wrapping_add(count) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("below 32000");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
