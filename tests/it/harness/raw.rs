//! A raw client, which sees the bytes on the wire and how the connection ends.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::transport::Connection;
use super::{Gateway, LIMIT, within};

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Fin,
    Rst,
}

/// A connection, with bytes that were read but not yet asked for.
pub(crate) struct Raw {
    stream: Connection,
    rest: Vec<u8>,
}

/// A response head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub status: u16,
    pub lines: Vec<String>,
}

impl Head {
    /// The first field of this name (in lower case).
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.lines.iter().filter_map(|line| line.split_once(':'));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    /// The fields of a request.
    pub(crate) fn of_request(text: &str) -> Head {
        Head { status: 0, lines: text.lines().skip(1).map(str::to_owned).collect() }
    }

    /// `Content-Length`, or nothing.
    pub(crate) fn length(&self) -> usize {
        self.field("content-length").map_or(0, |length| length.parse().unwrap())
    }

    fn parse(text: &str) -> Head {
        let mut lines = text.lines().map(str::to_owned);
        let first = lines.next().unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        Head { status: status.unwrap_or_else(|| panic!("no status line: {text:?}")), lines: lines.collect() }
    }
}

impl Raw {
    pub(crate) async fn connect(gateway: &Gateway) -> Raw {
        Raw::to(gateway.address).await
    }

    /// `None`: the gateway has closed it at once.
    pub(crate) async fn try_connect(gateway: &Gateway) -> Option<Raw> {
        Connection::to(gateway.address, false).await.ok().map(Raw::over)
    }

    pub(crate) async fn to(address: SocketAddr) -> Raw {
        Raw::over(Connection::to(address, false).await.unwrap())
    }

    pub(crate) fn on(stream: TcpStream) -> Raw {
        Raw::over(Connection::Plain(stream))
    }

    fn over(stream: Connection) -> Raw {
        Raw { stream, rest: Vec::new() }
    }

    /// Connects and sends these bytes.
    pub(crate) async fn send(gateway: &Gateway, bytes: impl AsRef<[u8]>) -> Raw {
        let mut raw = Raw::connect(gateway).await;
        raw.write(bytes).await;
        raw
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_write(bytes).await, "the peer has closed");
    }

    /// Writes as much as the peer accepts; true if that was everything.
    pub(crate) async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let written = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        within(LIMIT, "the peer reads or closes", written).await.is_ok()
    }

    /// True if the peer has closed, as far as visible without waiting.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.try_read(&mut byte) {
            Ok(1..) => {
                self.rest.extend(byte);
                false
            }
            Ok(0) => true,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Reads until the bytes contain `wanted`, and returns everything up to its end.
    pub(crate) async fn read_to(&mut self, wanted: &str) -> String {
        let what = format!("{wanted:?} comes");
        within(LIMIT, &what, async {
            loop {
                if let Some(at) = find(&self.rest, wanted.as_bytes()) {
                    let rest = self.rest.split_off(at + wanted.len());
                    return String::from_utf8_lossy(&std::mem::replace(&mut self.rest, rest)).into_owned();
                }
                let read = self.stream.read_buf(&mut self.rest).await;
                let so_far = String::from_utf8_lossy(&self.rest);
                assert!(matches!(read, Ok(1..)), "{read:?} before {wanted:?}, after {so_far:?}");
            }
        })
        .await
    }

    pub(crate) async fn head(&mut self) -> Head {
        Head::parse(&self.read_to("\r\n\r\n").await)
    }

    /// Reads this many bytes.
    pub(crate) async fn read(&mut self, count: usize) -> Vec<u8> {
        within(LIMIT, "the bytes come", async {
            while self.rest.len() < count {
                assert_ne!(self.stream.read_buf(&mut self.rest).await.unwrap(), 0, "ended too early");
            }
        })
        .await;
        let rest = self.rest.split_off(count);
        std::mem::replace(&mut self.rest, rest)
    }

    /// Reads a complete response with a Content-Length.
    pub(crate) async fn response(&mut self) -> (Head, String) {
        let head = self.head().await;
        let body = self.read(head.length()).await;
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    /// Reads to the end of the connection.
    pub(crate) async fn rest(mut self) -> (Vec<u8>, Ended) {
        let ended = within(LIMIT, "the connection is closed", async {
            loop {
                match self.stream.read_buf(&mut self.rest).await {
                    Ok(0) => return Ended::Fin,
                    Ok(_) => {}
                    Err(error) if is_cut(&error) => return Ended::Rst,
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .await;
        (self.rest, ended)
    }

    /// Reads to the end of the connection, as text.
    pub(crate) async fn rest_as_text(self) -> (String, Ended) {
        let (bytes, ended) = self.rest().await;
        (String::from_utf8_lossy(&bytes).into_owned(), ended)
    }
}

/// TLS without a `close_notify` is as visibly cut as TCP by a reset.
fn is_cut(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
