//! Listening sockets that the service manager has opened, and passes to the process (systemd's socket activation).
//!
//! They are matched with the config by their addresses. The manager keeps them open, so that connections wait while the gateway restarts.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use filedescriptor::FileDescriptor;
use pingora::server::ListenFds;
use socket2::SockRef;

/// The sockets, each with its address.
#[derive(Debug, Default)]
pub(super) struct Passed(Vec<(SocketAddr, RawFd)>);

impl Passed {
    /// Those that the environment names for this process.
    pub(super) fn of_manager() -> io::Result<Self> {
        let sockets = sd_notify::listen_fds()?.map(|number| Ok((prepare(number)?, number)));
        sockets.collect::<io::Result<_>>().map(Self)
    }

    pub(super) fn has(&self, address: SocketAddr) -> bool {
        self.0.iter().any(|(passed, _)| *passed == address)
    }

    /// The addresses on which the config does not listen.
    pub(super) fn others(&self, config: &[SocketAddr]) -> Vec<SocketAddr> {
        self.0.iter().map(|(address, _)| *address).filter(|address| !config.contains(address)).collect()
    }

    /// Enters them into the table of sockets, from which a service takes those of its addresses.
    pub(super) fn enter(&mut self, fds: &ListenFds) {
        let mut fds = fds.lock();
        self.0.drain(..).for_each(|(address, number)| fds.add(address.to_string(), number));
    }
}

/// Makes a socket fit for the runtime, and tells its address.
fn prepare(number: RawFd) -> io::Result<SocketAddr> {
    // the number itself goes to Pingora
    let socket = FileDescriptor::dup(&number).map_err(io::Error::other)?;
    let socket = SockRef::from(&socket);
    // systemd's are not, unless its unit says so (NonBlocking=), and one that blocks would hold up a thread of the runtime
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?.as_socket().filter(|_| socket.is_listener().unwrap_or(false));
    address.ok_or_else(|| {
        let problem =
            format!("file {number}, which the service manager passes, is no TCP socket that listens");
        io::Error::new(io::ErrorKind::InvalidInput, problem)
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_a_tcp_socket_that_listens_has_an_address() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        assert_eq!(prepare(tcp.as_raw_fd()).expect("it listens"), tcp.local_addr().expect("an address"));
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let folder = tempfile::tempdir().expect("a folder");
        let unix = UnixListener::bind(folder.path().join("socket")).expect("a socket");
        let file = tempfile::tempfile().expect("a file");
        for number in [udp.as_raw_fd(), unix.as_raw_fd(), file.as_raw_fd()] {
            assert!(prepare(number).is_err(), "{number}");
        }
    }

    #[test]
    fn sockets_are_matched_by_address() {
        let [one, two] =
            ["127.0.0.1:1", "[::]:2"].map(|address| address.parse::<SocketAddr>().expect("valid"));
        let passed = Passed(vec![(one, 3), (two, 4)]);
        assert!(passed.has(one) && !passed.has("127.0.0.1:2".parse().expect("valid")));
        assert_eq!(passed.others(&[one]), [two]);
    }
}
