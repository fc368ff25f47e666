//! A certificate from an ACME server (RFC 8555), as `tls.auto` names it.

use std::path::PathBuf;

/// A certificate that the gateway gets by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auto {
    /// In lower case, the first of which names the certificate's file; 1 to 100.
    pub names: Vec<String>,
    /// Told to the server's operator; default none.
    pub email: Option<String>,
    /// The folder of account and certificates; default /var/lib/evenkeel/acme.
    pub state: PathBuf,
    /// The URL of the server's directory; default that of Let's Encrypt.
    pub directory: String,
    /// The authorities of the server's own certificate, as PEM; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Default TLS-ALPN-01.
    pub challenge: Challenge,
    /// The path in the config file, for problems.
    pub place: String,
    /// That of `state`, if the file has it.
    pub state_place: Option<String>,
}

/// `challenge`: the proof that a name leads to this gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// RFC 8737: a handshake at port 443 of the name.
    TlsAlpn01,
    /// RFC 8555 section 8.3: a request to port 80 of the name.
    Http01,
}

impl Auto {
    /// The folder of one server's account and certificates. A certificate of another server, such as one for trials, is no
    /// certificate of this one.
    pub fn folder(&self) -> PathBuf {
        let bare = self.directory.trim_start_matches("https://").trim_end_matches('/');
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        self.state.join(bare.chars().map(plain).collect::<String>())
    }

    /// The file of key and certificate chain. It names the certificate too.
    pub fn file(&self) -> PathBuf {
        self.folder().join(format!("{}.pem", self.names.first().map_or("", String::as_str)))
    }

    /// The same certificate in every respect, wherever it is written.
    pub fn is_same(&self, other: &Self) -> bool {
        let bare = |auto: &Self| Self { place: String::new(), state_place: None, ..auto.clone() };
        bare(self) == bare(other)
    }
}
