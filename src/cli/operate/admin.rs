//! The gateway's admin address, as the commands see it: one small request on a connection of its own.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::config::{Config, NodeAddress};
use crate::route::percent_encoded;

/// Longest wait for each step of an exchange.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer; one about one node is a thousandth of it.
const ANSWER_MAX: usize = 1 << 20;

/// The reason why a command failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The config or the address is unusable.
    Usage(String),
    Failed(String),
}

/// A gateway's admin address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admin(SocketAddr);

/// The gateway's answer about a node.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Node {
    pub name: String,
    pub pool: String,
    pub state: String,
    pub drained_by: Vec<String>,
    pub in_flight: u64,
    pub ejected_for_seconds: Option<f64>,
    pub warning: Option<String>,
    /// It has left the config, and has no request any more.
    #[serde(skip)]
    pub is_gone: bool,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Node {
    /// Its state in one line.
    pub(super) fn describe(&self) -> String {
        let Self { pool, name, state, in_flight, .. } = self;
        let left = self.ejected_for_seconds.filter(|_| state == "ejected");
        let left = left.map_or_else(String::new, |seconds| format!(" for {seconds:.0} s"));
        format!("pool {pool}, node {name}: {state}{left}, {in_flight} in flight")
    }
}

impl Admin {
    /// The address given, or else the one in the config.
    pub(super) fn find(given: Option<&str>, config: &Path) -> Result<Self, Trouble> {
        match given {
            Some(url) => Self::of_url(url).map_err(|why| Trouble::Usage(format!("--admin {url}: {why}"))),
            None => Self::of_config(config),
        }
    }

    fn of_url(url: &str) -> Result<Self, String> {
        let address: NodeAddress = url.parse()?;
        let mut found = (address.host.as_str(), address.port).to_socket_addrs().map_err(|e| e.to_string())?;
        found.next().map(Self).ok_or_else(|| "the name has no address".to_owned())
    }

    fn of_config(path: &Path) -> Result<Self, Trouble> {
        let config = Config::load(path).map_err(|problems| {
            Trouble::Usage(format!("{problems}\nor name the gateway with --admin http://127.0.0.1:9990"))
        })?;
        let off = || Trouble::Usage(format!("{}: `admin` is off, so there is nobody to ask", path.display()));
        config.server.admin.map(|address| Self(reachable(address))).ok_or_else(off)
    }

    /// Has the gateway do this with a node.
    pub(super) fn order(self, pool: &str, node: &str, verb: &str) -> Result<Node, Trouble> {
        let path = format!("{}/{verb}", path_of(pool, node));
        let (status, body) = self.ask("POST", &path)?;
        self.read(status, &body)
    }

    /// The node's state. One that is not there is gone, with all its requests.
    pub(super) fn look(self, pool: &str, node: &str) -> Result<Node, Trouble> {
        let (status, body) = self.ask("GET", &path_of(pool, node))?;
        if status == 404 {
            return Ok(Node { name: node.to_owned(), is_gone: true, ..Node::default() });
        }
        self.read(status, &body)
    }

    fn read(self, status: u16, body: &[u8]) -> Result<Node, Trouble> {
        if status == 200
            && let Ok(node) = serde_json::from_slice(body)
        {
            return Ok(node);
        }
        let why = serde_json::from_slice(body).map(|Refused { error }| error);
        let why =
            why.unwrap_or_else(|_| "this is no answer of an evenkeel that knows such orders".to_owned());
        Err(Trouble::Failed(format!("http://{}: {status}: {why}", self.0)))
    }

    fn ask(self, method: &str, path: &str) -> Result<(u16, Vec<u8>), Trouble> {
        let failed = |error| Trouble::Failed(format!("cannot ask the gateway at http://{}: {error}", self.0));
        self.exchange(method, path).map_err(failed)
    }

    fn exchange(self, method: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect_timeout(&self.0, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.0
        )?;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(whole) = parsed(&answer)? {
                return Ok(whole);
            }
            match stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ if answer.len() > ANSWER_MAX => return Err(invalid("its answer is too long")),
                count => answer.extend_from_slice(&piece[..count]),
            }
        }
    }
}

/// An address that listens on all of this machine's is reached at loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn path_of(pool: &str, node: &str) -> String {
    format!("/api/nodes/{}/{}", percent_encoded(pool), percent_encoded(node))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Status and body, once all of the answer is there.
fn parsed(answer: &[u8]) -> io::Result<Option<(u16, Vec<u8>)>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let Ok(length) = head.parse(answer) else { return Err(invalid("its answer is not HTTP")) };
    let httparse::Status::Complete(begin) = length else { return Ok(None) };
    let field = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = field.and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse::<usize>().ok());
    let length = length.ok_or_else(|| invalid("its answer has no length"))?;
    let body = answer.get(begin..).and_then(|rest| rest.get(..length));
    Ok(body.map(|body| (head.code.unwrap_or_default(), body.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let whole = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
        for end in 0..whole.len() {
            assert!(parsed(&whole[..end]).expect("so far it is HTTP").is_none(), "{end}");
        }
        assert_eq!(parsed(whole).expect("HTTP"), Some((404, b"{}".to_vec())));
        assert!(parsed(b"SSH-2.0-OpenSSH\r\n").is_err());
        assert!(parsed(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(
            parsed(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n")
                .is_ok_and(|it| it.is_none())
        );
    }

    #[test]
    fn an_address_is_a_url_or_a_host_and_a_port() {
        for url in ["http://127.0.0.1:9990", "127.0.0.1:9990", "http://127.0.0.1:9990/"] {
            assert_eq!(Admin::of_url(url).expect("an address").0.to_string(), "127.0.0.1:9990");
        }
        for url in ["https://127.0.0.1:9990", "http://127.0.0.1", "", "http://127.0.0.1:9990/api"] {
            assert!(Admin::of_url(url).is_err(), "{url}");
        }
        assert_eq!(reachable(([0, 0, 0, 0], 9).into()).to_string(), "127.0.0.1:9");
    }
}
