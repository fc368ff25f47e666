//! The demo's settings, and the gateway configuration made from them.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use super::cast::{Cast, Line};
use super::story::Times;
use crate::sim::StepTimes;
use crate::sim::load::Sizes;

/// Exit code for wrong input or an unavailable address (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;
/// The options that name an address.
pub(super) const LISTEN: &str = "--listen";
pub(super) const ADMIN_OPTION: &str = "--admin";
/// The admin address, unless it is taken.
pub(super) const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9990);

/// The reason why the demo cannot run.
#[derive(Debug)]
pub(super) struct Trouble {
    pub code: u8,
    pub message: String,
}

impl Trouble {
    /// A failure that the user cannot fix.
    pub(super) fn failure(what: &str, error: impl std::fmt::Display) -> Self {
        Self { code: 1, message: format!("{what}: {error}") }
    }
}

/// All settings of the demo.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub cast: Cast,
    pub tokens: Sizes,
    pub step: StepTimes,
    pub fail_timeout: Duration,
    pub probe_pass: Duration,
    pub slow_start: Duration,
    pub times: Times,
}

impl Setup {
    /// The settings of `evenkeel demo`: requests of 1 to 6 seconds, and a crash that is over after half a minute.
    pub(super) fn demo(listen: SocketAddr) -> Result<Self, Trouble> {
        let listen = free(listen, LISTEN)?;
        let admin = Some(ADMIN).filter(|admin| *admin != listen && TcpListener::bind(admin).is_ok());
        Ok(Self {
            listen,
            admin,
            cast: Cast::Alike(24),
            tokens: Sizes::Uniform { min: 40, max: 220 },
            step: StepTimes {
                base: Duration::from_millis(20),
                per_seq: Duration::from_micros(400),
                ..StepTimes::default()
            },
            fail_timeout: Duration::from_secs(5),
            probe_pass: Duration::from_secs(2),
            slow_start: Duration::from_secs(5),
            times: Times {
                first: Duration::from_secs(20),
                every: Duration::from_secs(40),
                startup: Duration::from_secs(8),
            },
        })
    }

    /// The settings of `evenkeel demo --classes`: the same with nodes that take 8 requests at a time, and 43 clients.
    pub(super) fn classes(listen: SocketAddr) -> Result<Self, Trouble> {
        let line = Line { slots: 8, reserve: 25 };
        Ok(Self { cast: Cast::Classes { people: 3, batch: 40, line }, ..Self::demo(listen)? })
    }

    /// The gateway's configuration file.
    pub(super) fn config(&self, nodes: &[(String, SocketAddr)]) -> String {
        let admin = self.admin.map_or_else(|| "off".to_owned(), |admin| format!("\"{admin}\""));
        let ms = |time: Duration| format!("{}ms", time.as_millis());
        let mut list = String::new();
        let line = self.cast.line();
        let limit = line.map_or_else(String::new, |line| format!(", max_in_flight: {}", line.slots));
        for (name, address) in nodes {
            // writing to a String cannot fail
            let _ = write!(list, "\n      - {{ name: {name}, address: \"{address}\"{limit} }}");
        }
        let queue = line.map(|line| format!("\n    queue: {{ reserve: {}% }}", line.reserve));
        format!(
            r#"server: {{ listen: "{listen}", admin: {admin}, threads: 2, access_log: {{ format: off }} }}
pools:
  demo:
    nodes:{list}
    health: {{ fail_timeout: {fail_timeout}, probe_pass: {probe_pass}, slow_start: {slow_start} }}{queue}
"#,
            listen = self.listen,
            fail_timeout = ms(self.fail_timeout),
            probe_pass = ms(self.probe_pass),
            slow_start = ms(self.slow_start),
            queue = queue.unwrap_or_default(),
        )
    }

    /// The gateway's address for clients on this machine.
    pub(super) fn reached_at(&self) -> SocketAddr {
        let mut address = self.listen;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        address
    }
}

/// The address, with a free port if it has none, or advice if it is in use.
pub(super) fn free(address: SocketAddr, option: &str) -> Result<SocketAddr, Trouble> {
    match TcpListener::bind(address).and_then(|listener| listener.local_addr()) {
        Ok(address) => Ok(address),
        Err(error) => Err(Trouble { code: EXIT_USAGE, message: taken(address, option, &error) }),
    }
}

fn taken(address: SocketAddr, option: &str, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let ip = address.ip();
            let other = SocketAddr::new(ip, if port == 8080 { 8081 } else { 8080 });
            format!(
                "port {port} is in use (`ss -ltnp` shows by which program); \
                 stop that program, or choose another port: evenkeel demo {option} {other}"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is not an address of this machine; use {option} 127.0.0.1:{port}", address.ip())
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} needs privileges; choose another: evenkeel demo {option} 127.0.0.1:8080")
        }
        _ => format!("cannot listen on {address}: {error}; choose another address with {option}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_config_is_valid_and_reflects_the_settings() {
        let setup = Setup::demo("127.0.0.1:0".parse().unwrap()).unwrap();
        let nodes =
            [("a".to_owned(), "127.0.0.1:1".parse().unwrap()), ("b".to_owned(), "[::1]:2".parse().unwrap())];
        for admin in [None, Some("127.0.0.1:3".parse().unwrap())] {
            let text = Setup { admin, ..setup.clone() }.config(&nodes);
            let config = Config::parse(&text, "demo").unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(config.server.admin.address, admin);
            assert_eq!(config.pools[0].health.fail_timeout, Duration::from_secs(5));
            assert_eq!(config.pools[0].nodes.len(), 2);
        }
        let classes = Setup::classes("127.0.0.1:0".parse().unwrap()).unwrap();
        let config =
            Config::parse(&classes.config(&nodes), "demo").unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.pools[0].nodes[1].max_in_flight, crate::config::MaxInFlight::Fixed(8));
    }

    #[test]
    fn a_taken_port_is_explained() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let trouble = free(address, LISTEN).unwrap_err();
        assert_eq!(trouble.code, 64);
        assert!(
            trouble.message.contains(&address.port().to_string()) && trouble.message.contains("--listen")
        );
    }

    #[test]
    fn clients_never_connect_to_the_unspecified_address() {
        let mut setup = Setup::demo("127.0.0.1:0".parse().unwrap()).unwrap();
        setup.listen = "0.0.0.0:9".parse().unwrap();
        assert_eq!(setup.reached_at().to_string(), "127.0.0.1:9");
    }
}
