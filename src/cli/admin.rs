//! The gateway's admin address, as the commands see it: one small request on a connection of its own.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::check::EXIT_BAD_CONFIG;
use super::secure::{Connection, Trust};
use crate::config::{Config, HostPort};

/// Longest wait for each step of an exchange.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer; the status of 1000 nodes is some 1.5 MB.
const ANSWER_MAX: usize = 64 << 20;
const PIECE: usize = 64 << 10;
/// The variable that may have a token.
const TOKEN: &str = "EVENKEEL_ADMIN_TOKEN";

/// The reason why a command failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The config or the address is unusable.
    Usage(String),
    Failed(String),
}

/// The exit code of a command, after its message.
pub(super) fn exit_code(done: Result<(), Trouble>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Failed(message)) => {
            eprintln!("evenkeel: {message}");
            ExitCode::FAILURE
        }
        Err(Trouble::Usage(message)) => {
            eprintln!("evenkeel: {message}");
            ExitCode::from(EXIT_BAD_CONFIG)
        }
    }
}

/// A gateway's admin address.
#[derive(Clone, Debug)]
pub(super) struct Admin {
    name: String,
    /// All that the name leads to, in the order in which they are tried; at least one.
    addresses: Vec<SocketAddr>,
    /// Header fields of every request, each with its line end.
    fields: String,
    tls: Option<Trust>,
}

/// The gateway that a command asks.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArg {
    /// Ask the gateway at this admin address [default: the one in the config]
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
    /// Show the token in this file [default: EVENKEEL_ADMIN_TOKEN, else one of the config's]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Trust the certificates in this file [default: the system's authorities; for the one in the config, its certificate]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Status and body of an answer.
pub(super) type Answer = (u16, Vec<u8>);

impl Admin {
    /// The address given, or else the one in the config.
    pub(super) fn find(args: &AdminArg, given: Option<&str>, config: &Path) -> Result<Self, Trouble> {
        let admin = match given.or(args.admin.as_deref()) {
            Some(url) => {
                let found = Self::of_url(url, args.ca.as_deref());
                found.map_err(|why| Trouble::Usage(format!("--admin {url}: {why}")))?
            }
            None => Self::of_config(config, args.ca.as_deref())?,
        };
        let file = args.token_file.as_deref();
        let token = match file {
            Some(file) => {
                Some(token_in(file).map_err(|why| Trouble::Usage(format!("{}: {why}", file.display())))?)
            }
            None => std::env::var(TOKEN).ok(),
        };
        Ok(token.map_or_else(|| admin.clone(), |token| admin.clone().with_token(&token)))
    }

    fn of_url(url: &str, ca: Option<&Path>) -> Result<Self, String> {
        let (address, is_secure) = match url.strip_prefix("https://") {
            Some(rest) => (rest, true),
            None => (url, false),
        };
        let address: HostPort = address.parse()?;
        let found = (address.host.as_str(), address.port).to_socket_addrs().map_err(|e| e.to_string())?;
        let addresses: Vec<_> = found.collect();
        if addresses.is_empty() {
            return Err("the name has no address".to_owned());
        }
        let tls = if is_secure { Some(Trust::new(&address.host, ca)?) } else { None };
        Ok(Self { name: address.to_string(), addresses, fields: String::new(), tls })
    }

    /// The one in the config, with its certificate and one of its tokens, as far as these can be read.
    fn of_config(path: &Path, ca: Option<&Path>) -> Result<Self, Trouble> {
        let config = Config::load(path).map_err(|problems| {
            Trouble::Usage(format!("{problems}\nor name the gateway with --admin http://127.0.0.1:9990"))
        })?;
        let settings = &config.server.admin;
        let off = || Trouble::Usage(format!("{}: `admin` is off, so there is nobody to ask", path.display()));
        let mut admin = settings.address.map(Self::at).ok_or_else(off)?;
        if let Some(tls) = &settings.tls {
            let host = admin.addresses[0].ip().to_string();
            let trust = match (ca, tls.certificates.first()) {
                (None, Some(own)) => Trust::own(&host, &own.cert),
                (ca, _) => Trust::new(&host, ca),
            };
            admin.tls = Some(trust.map_err(|why| Trouble::Usage(format!("{}: {why}", path.display())))?);
        }
        let mut tokens = settings.tokens.iter().collect::<Vec<_>>();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.role));
        let token = tokens.iter().find_map(|token| token_in(&token.file).ok());
        Ok(token.map_or_else(|| admin.clone(), |token| admin.clone().with_token(&token)))
    }

    fn at(address: SocketAddr) -> Self {
        let address = reachable(address);
        Self { name: address.to_string(), addresses: vec![address], fields: String::new(), tls: None }
    }

    fn with_token(self, token: &str) -> Self {
        Self { fields: format!("Authorization: Bearer {token}\r\n"), ..self }
    }

    /// Host and port, as it was named.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.name)
    }

    /// Sends one request.
    pub(super) fn ask(&self, method: &str, path: &str) -> Result<Answer, Trouble> {
        let failed = |error| Trouble::Failed(format!("cannot ask the gateway at {}: {error}", self.url()));
        self.exchange(method, path, TIMEOUT).map_err(failed)
    }

    /// The same, with a limit for each step.
    pub(super) fn exchange(&self, method: &str, path: &str, limit: Duration) -> io::Result<Answer> {
        let stream = self.connect(limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        // an address, because live data is for those who name no name (see admin/origin.rs)
        let (host, fields) = (stream.peer_addr()?, &self.fields);
        let mut stream: Box<dyn Connection> = match &self.tls {
            Some(trust) => trust.over(stream)?,
            None => Box::new(stream),
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n{fields}\r\n",
        )?;
        let mut answer = Vec::new();
        let mut piece = vec![0; PIECE];
        loop {
            if let Some(whole) = parsed(&answer)? {
                return Ok(whole);
            }
            match stream.read(&mut piece).map_err(|error| said(error, limit))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ if answer.len() > ANSWER_MAX => return Err(invalid("its answer is too long")),
                count => answer.extend_from_slice(&piece[..count]),
            }
        }
    }

    fn connect(&self, limit: Duration) -> io::Result<TcpStream> {
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, limit) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The token in a file; not the hash of one, which opens nothing.
fn token_in(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let token = text.trim();
    let is_token = !token.is_empty()
        && !token.starts_with("sha256:")
        && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_token { Ok(token.to_owned()) } else { Err("it has no token".to_owned()) }
}

/// A read that is over in vain is told as what it is.
fn said(error: io::Error, limit: Duration) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it has not answered within {} s", limit.as_secs()),
        ),
        _ => error,
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

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Status and body, once all of the answer is there.
fn parsed(answer: &[u8]) -> io::Result<Option<Answer>> {
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
            let admin = Admin::of_url(url, None).expect("an address");
            assert_eq!((admin.name(), admin.addresses.len()), ("127.0.0.1:9990", 1));
        }
        assert!(Admin::of_url("https://127.0.0.1:9990", None).expect("an address").tls.is_some());
        for url in ["https://127.0.0.1", "http://127.0.0.1", "", "http://127.0.0.1:9990/api"] {
            assert!(Admin::of_url(url, None).is_err(), "{url}");
        }
        assert_eq!(reachable(([0, 0, 0, 0], 9).into()).to_string(), "127.0.0.1:9");
    }
}
