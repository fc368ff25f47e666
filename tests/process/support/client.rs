//! An HTTP/1.1 client that sees how a connection ends. Like real clients it reuses a connection unless it was closed.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::LIMIT;

pub(crate) struct Client {
    address: SocketAddr,
    conn: Option<Conn>,
    /// The rest of the current answer.
    left: Left,
    closes: bool,
}

struct Conn {
    stream: TcpStream,
    read: Vec<u8>,
    used: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Left {
    Length(usize),
    Chunks,
    Nothing,
}

#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub status: u16,
    fields: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub head: Head,
    pub body: String,
}

impl Head {
    fn parse(text: &str) -> io::Result<Self> {
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| broken(&format!("no status line: {first:?}")))?;
        let field = |line: &str| line.split_once(':').map(|(n, v)| (n.to_lowercase(), v.trim().to_owned()));
        Ok(Self { status, fields: lines.filter_map(field).collect() })
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// True if the gateway announces that this is the last response on the connection.
    pub(crate) fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, what.to_owned())
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, conn: None, left: Left::Nothing, closes: false }
    }

    /// Sends a request and reads the whole answer. Keeps the connection unless the answer says otherwise.
    pub(crate) async fn ask(&mut self, request: &str) -> io::Result<Answer> {
        let head = self.begin(request).await?;
        let body = self.rest().await?;
        Ok(Answer { head, body })
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) async fn begin(&mut self, request: &str) -> io::Result<Head> {
        // a fresh connection must not be closed
        let ended = self.conn.as_ref().is_some_and(|conn| conn.used && conn.is_closed());
        if self.left != Left::Nothing || ended {
            self.conn = None;
        }
        let conn = match &mut self.conn {
            Some(conn) => conn,
            None => self.conn.insert(Conn::open(self.address).await?),
        };
        conn.used = true;
        conn.stream.write_all(request.as_bytes()).await?;
        let end = within(conn.find(b"\r\n\r\n")).await?;
        let head = Head::parse(conn.take(end + 4).trim_end())?;
        let length = head.field("content-length").and_then(|length| length.parse().ok());
        self.left = length.map_or(Left::Chunks, Left::Length);
        self.closes = head.closes();
        Ok(head)
    }

    /// The next piece of the body; `None` after the last one.
    pub(crate) async fn next(&mut self) -> io::Result<Option<String>> {
        let Some(conn) = &mut self.conn else { return Ok(None) };
        let piece = match self.left {
            Left::Nothing => return Ok(None),
            Left::Length(length) => {
                within(conn.fill(length)).await?;
                self.left = Left::Nothing;
                Some(conn.take(length))
            }
            Left::Chunks => {
                let piece = within(conn.chunk()).await?;
                if piece.is_none() {
                    self.left = Left::Nothing;
                }
                piece
            }
        };
        if self.left == Left::Nothing && self.closes {
            self.conn = None;
        }
        Ok(piece)
    }

    /// The rest of the body.
    pub(crate) async fn rest(&mut self) -> io::Result<String> {
        let mut body = String::new();
        while let Some(piece) = self.next().await? {
            body.push_str(&piece);
        }
        Ok(body)
    }

    /// Opens the connection without sending anything.
    pub(crate) async fn connect(&mut self) -> io::Result<()> {
        self.conn = Some(Conn::open(self.address).await?);
        Ok(())
    }

    /// Closes the connection.
    pub(crate) fn leave(&mut self) {
        self.conn = None;
    }
}

impl Conn {
    async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new(), used: false })
    }

    fn is_closed(&self) -> bool {
        let seen = self.stream.try_read(&mut [0; 1]);
        !matches!(seen, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(broken("the connection ended in the middle")),
            _ => Ok(()),
        }
    }

    async fn find(&mut self, end: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end) {
                return Ok(at);
            }
            self.more().await?;
        }
    }

    async fn chunk(&mut self) -> io::Result<Option<String>> {
        let line = self.find(b"\r\n").await?;
        let size = self.take(line + 2);
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| broken("no chunk size"))?;
        self.fill(size + 2).await?;
        let piece = self.take(size + 2);
        Ok((size > 0).then(|| piece[..size].to_owned()))
    }

    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.read.len() < length {
            self.more().await?;
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> String {
        let rest = self.read.split_off(length);
        String::from_utf8_lossy(&std::mem::replace(&mut self.read, rest)).into_owned()
    }
}

async fn within<T>(read: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(LIMIT, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// A chat request for so many tokens.
pub(crate) fn chat(tokens: u32, stream: bool) -> String {
    let body = format!(
        r#"{{"model":"sim","messages":[{{"role":"user","content":"Tell me of the sea"}}],"max_tokens":{tokens},"stream":{stream}}}"#
    );
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}
