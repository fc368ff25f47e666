//! The gateway's admin address, as the commands see it: one small request on a connection of its own.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::check::EXIT_BAD_CONFIG;
use super::secure::{Connection, Trust};
use crate::config::{Config, HostPort, Listening};
use crate::tls::names_of;

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
    /// Shown with every request.
    token: Option<Token>,
    tls: Option<Trust>,
}

/// A token that fits into a header field; not the hash of one, which opens nothing.
#[derive(Clone, PartialEq, Eq)]
struct Token(String);

impl Token {
    fn parse(text: &str) -> Result<Self, String> {
        let token = text.trim();
        let is_token = !token.is_empty()
            && !token.starts_with("sha256:")
            && token.bytes().all(|byte| byte.is_ascii_graphic());
        if is_token { Ok(Self(token.to_owned())) } else { Err("it has no token".to_owned()) }
    }

    fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        Self::parse(&text)
    }

    /// In a variable's value; an empty one counts as not set.
    fn of_variable(value: Option<&OsStr>) -> Result<Option<Self>, String> {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
        let text = value.to_str().ok_or_else(|| "it has no token".to_owned());
        text.and_then(Self::parse).map(Some)
    }
}

/// Says nothing of it.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
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
            Some(file) => Token::read(file).map(Some).map_err(|why| format!("{}: {why}", file.display())),
            None => {
                let value = std::env::var_os(TOKEN);
                Token::of_variable(value.as_deref()).map_err(|why| format!("{TOKEN}: {why}"))
            }
        };
        let token = token.map_err(Trouble::Usage)?;
        Ok(Self { token: token.or(admin.token), ..admin })
    }

    fn of_url(url: &str, ca: Option<&Path>) -> Result<Self, String> {
        let (address, is_secure) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (rest, true),
            _ => (url, false),
        };
        let address: HostPort = address.parse()?;
        let found = (address.host.as_str(), address.port).to_socket_addrs().map_err(|e| e.to_string())?;
        let addresses: Vec<_> = found.collect();
        if addresses.is_empty() {
            return Err("the name has no address".to_owned());
        }
        let tls = if is_secure { Some(Trust::new(&address.host, ca)?) } else { None };
        Ok(Self { name: address.to_string(), addresses, token: None, tls })
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
            let trust = trust(tls, admin.addresses[0].ip(), ca);
            admin.tls = Some(trust.map_err(|why| Trouble::Usage(format!("{}: {why}", path.display())))?);
        }
        let mut tokens = settings.tokens.iter().collect::<Vec<_>>();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.role));
        admin.token = tokens.iter().find_map(|token| Token::read(&token.file).ok());
        Ok(admin)
    }

    fn at(address: SocketAddr) -> Self {
        let address = reachable(address);
        Self { name: address.to_string(), addresses: vec![address], token: None, tls: None }
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
        let host = stream.peer_addr()?;
        let token = self.token.as_ref().map(|Token(token)| format!("Authorization: Bearer {token}\r\n"));
        let fields = token.unwrap_or_default();
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

/// For the gateway of a config on this machine, whose certificate hardly has the address by which it is asked.
fn trust(tls: &Listening, ip: IpAddr, ca: Option<&Path>) -> Result<Trust, String> {
    if let Some(own) = tls.certificates.first().filter(|_| ca.is_none()) {
        return Trust::own(&ip.to_string(), &own.cert);
    }
    let name = name_in(tls, ip);
    match &tls.auto {
        Some(auto) if ca.is_none() && tls.certificates.is_empty() => Trust::renewed(&name, &auto.file()),
        _ => Trust::new(&name, ca),
    }
}

/// A name that the gateway's certificate has: the address if that is among them.
fn name_in(tls: &Listening, ip: IpAddr) -> String {
    let in_files = tls.certificates.first().map(|files| names_of(&files.cert)).unwrap_or_default();
    let in_auto = tls.auto.iter().flat_map(|auto| &auto.names).cloned();
    let names: Vec<_> = in_files.into_iter().chain(in_auto).collect();
    let ip = ip.to_string();
    match names.first().filter(|_| !names.contains(&ip)) {
        // any label will do
        Some(name) => name.replace('*', "evenkeel"),
        None => ip,
    }
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
        assert!(Admin::of_url("HTTPS://127.0.0.1:9990", None).expect("an address").tls.is_some());
        for url in ["https://127.0.0.1", "http://127.0.0.1", "", "http://127.0.0.1:9990/api"] {
            assert!(Admin::of_url(url, None).is_err(), "{url}");
        }
        assert_eq!(reachable(([0, 0, 0, 0], 9).into()).to_string(), "127.0.0.1:9");
    }

    #[test]
    fn a_token_is_one_word_and_is_never_shown() {
        let of = |value: &str| Token::of_variable(Some(OsStr::new(value)));
        assert_eq!((Token::of_variable(None), of("")), (Ok(None), Ok(None)), "it hides none of the config's");
        assert_eq!(of("abc\n"), Ok(Some(Token("abc".to_owned()))));
        for wrong in ["abc\r\nX-Evil: 1", "two words", " ", "sha256:00"] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
        let admin = Admin { token: of("secret").expect("a token"), ..Admin::at(([127, 0, 0, 1], 1).into()) };
        assert!(!format!("{admin:?}").contains("secret"));
    }

    #[test]
    fn a_certificate_is_looked_at_by_a_name_that_it_has() {
        let dir = tempfile::tempdir().expect("a directory");
        let auto = "auto: { names: [gw.example, b.example], terms_agreed: true }";
        for (names, auto, want) in [
            (&["*.example", "b.example"][..], "", "evenkeel.example"),
            (&["b.example", "127.0.0.1"], auto, "127.0.0.1"),
            (&["b.example"], auto, "b.example"),
            (&[], auto, "gw.example"),
        ] {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let (file, has_file) = (dir.path().join("cert.pem"), !names.is_empty());
            let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
            std::fs::write(&file, made.cert.pem()).expect("a file");
            let files = if has_file { format!("cert: {file:?}, key: {file:?}, ") } else { String::new() };
            let text = format!(
                "server:\n  listen: 127.0.0.1:1\n  admin: {{ address: 127.0.0.1:9990, tls: {{ {files}{auto} }} }}\n\
                 pools: {{ a: {{ nodes: [n:80] }} }}\n"
            );
            let config = Config::parse(&text, "t").unwrap_or_else(|problems| panic!("{problems}"));
            let tls = config.server.admin.tls.expect("it has TLS");
            assert_eq!(name_in(&tls, Ipv4Addr::LOCALHOST.into()), want);
            let trust =
                trust(&tls, Ipv4Addr::LOCALHOST.into(), None).expect("the system's authorities, or its own");
            let is_pinned = has_file;
            assert_eq!(trust.name() == want, !is_pinned || want == "127.0.0.1", "{want}");
        }
    }
}
