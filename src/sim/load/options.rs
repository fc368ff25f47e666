//! The options of a load: its targets, requests, rate and limits.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::Uri;

use super::secure::Tls;
use super::sizes::Sizes;
use crate::mix::mix;

/// The description of a load; [`Load::start`] runs it.
#[derive(Clone, Debug)]
pub struct Load {
    /// Request n goes to target n modulo their number: client-side round robin.
    pub targets: Vec<Target>,
    /// Number of clients, each with one request at a time.
    pub concurrency: usize,
    pub ask: Ask,
    /// Additional header fields.
    pub headers: Vec<(String, String)>,
    /// Total number of requests; `None`: no limit.
    pub count: Option<u64>,
    /// Time after which no request starts; those in flight are finished. `None`: no limit.
    pub duration: Option<Duration>,
    /// Time over which the clients start, one after the other.
    pub ramp: Duration,
    /// Longest time for one request; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Pause of a client after a failure, so that a dead target does not cause a busy loop.
    pub pause_after_failure: Duration,
    /// Resend a request once on a fresh connection if its kept-alive connection turned out to be closed, before any
    /// byte of a response.
    pub again_if_stale: bool,
    /// `None`: without TLS.
    pub tls: Option<Tls>,
    pub connections: Connections,
    /// Request n is the same in every run with this seed, whichever client sends it.
    pub seed: u64,
}

/// The body of each request.
#[derive(Clone, Debug)]
pub enum Ask {
    /// The same bytes each time; `stream` says that they ask for a stream.
    Body { body: Bytes, stream: bool },
    /// A chat with `max_tokens` drawn from `tokens`; the share `stream` (0 to 1) of them are streams.
    Chat { tokens: Sizes, stream: f64 },
}

/// The use that a client makes of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connections {
    /// For one request after another.
    #[default]
    Kept,
    /// For one request; the next one gets another.
    Fresh,
    /// For one request; it is the client's only one, and its connection stays open until the load is stopped or cut.
    Idle,
}

/// The destination of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
}

impl Load {
    /// A load without limits that starts at once.
    pub fn new(targets: Vec<Target>, concurrency: usize, ask: Ask) -> Self {
        Self {
            targets,
            concurrency,
            ask,
            headers: Vec::new(),
            count: None,
            duration: None,
            ramp: Duration::ZERO,
            timeout: None,
            pause_after_failure: Duration::from_millis(20),
            again_if_stale: false,
            tls: None,
            connections: Connections::default(),
            seed: 0,
        }
    }
}

impl Ask {
    /// The body of request `number`; the flag is true if it asks for a stream.
    pub(super) fn body(&self, number: u64, seed: u64) -> (Bytes, bool) {
        match self {
            Self::Body { body, stream } => (body.clone(), *stream),
            Self::Chat { tokens, stream } => {
                let mut random = Rng::with_seed(mix(seed) ^ number);
                let streams = random.f64() < *stream;
                let tokens = tokens.draw(&mut random);
                let body = format!(
                    r#"{{"model":"sim","messages":[{{"role":"user","content":"Tell me of the sea, part {number}"}}],"max_tokens":{tokens},"stream":{streams}}}"#
                );
                (body.into(), streams)
            }
        }
    }
}

impl Target {
    /// The chat endpoint at this address.
    pub fn chat(address: SocketAddr) -> Self {
        Self { address, path: "/v1/chat/completions".to_owned() }
    }
}

impl FromStr for Target {
    type Err = String;

    /// From a URL such as `http://127.0.0.1:9999/v1/completions`.
    fn from_str(url: &str) -> Result<Self, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("{url:?} is not the URL of a target: {why}");
        let uri: Uri = url.parse().map_err(|error| wrong(&error))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong(&"must start with http://"));
        }
        let host = uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = (bare, uri.port_u16().unwrap_or(80)).to_socket_addrs().map_err(|error| wrong(&error))?;
        let address = found.into_iter().next().ok_or_else(|| wrong(&"the name has no address"))?;
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { address, path: format!("{slash}{path}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let target: Target = "http://127.0.0.1:9999/v1/chat/completions".parse().unwrap();
        assert_eq!(target, Target::chat("127.0.0.1:9999".parse().unwrap()));
        let target: Target = "http://[::1]?a=b".parse().unwrap();
        assert_eq!((target.address, target.path.as_str()), ("[::1]:80".parse().unwrap(), "/?a=b"));
        assert!("https://127.0.0.1/".parse::<Target>().unwrap_err().contains("http://"));
        assert!("127.0.0.1:80".parse::<Target>().is_err());
    }

    #[test]
    fn a_request_depends_only_on_its_number_and_the_seed() {
        let ask = Ask::Chat { tokens: Sizes::Uniform { min: 1, max: 1_000_000 }, stream: 0.5 };
        assert_eq!(ask.body(3, 1), ask.body(3, 1));
        assert_ne!(ask.body(3, 1), ask.body(3, 2));
        let streams = (0..1000).filter(|number| ask.body(*number, 1).1).count();
        assert!((400..600).contains(&streams), "{streams}");
        let (body, stream) = ask.body(0, 1);
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["stream"], stream);
    }
}
