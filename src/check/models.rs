//! Asks a node for its list of models, with no credential.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fleet::{ListQuestion, Listed, Pool};
use crate::http1::parse_response;

/// The longest time that a list may take, and its largest size, in bytes, head included.
const WITHIN: Duration = Duration::from_secs(5);
const BYTES_MAX: usize = 1024 * 1024;

/// Asks, and tells the pool. A node that is slow is at work: what is known of it stays.
pub(super) async fn ask_and_tell(pool: Arc<Pool>, question: ListQuestion) {
    let Ok(answer) = timeout(WITHIN, ask(question.address, &question.node.address.to_string())).await else {
        return;
    };
    let list = answer.as_deref().and_then(Listed::read);
    if list.is_none() {
        let (pool, node) = (&question.node.pool, &question.node.name);
        log::debug!(pool:%, node:%; "pool {pool}, node {node}: no list of models");
    }
    pool.set_list(question.key, list);
}

async fn ask(address: SocketAddr, host: &str) -> Option<Bytes> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!(
        "GET /v1/models HTTP/1.1\r\nHost: {host}\r\nUser-Agent: evenkeel/{}\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut read = BytesMut::new();
    let (mut unread, mut body) = loop {
        more(&mut stream, &mut read).await?;
        let mut unread = read.split().freeze();
        match parse_response(&mut unread).ok()? {
            Some(head) if head.status == 200 => break (unread, head.framing(false).ok()?.body),
            Some(_) => return None,
            None => read = unread.into(),
        }
    };
    let mut list = BytesMut::new();
    loop {
        list.extend_from_slice(&body.take(&mut unread).ok()?);
        if body.is_done() {
            return Some(list.freeze());
        }
        let mut next = BytesMut::from(unread);
        if more(&mut stream, &mut next).await.is_none() {
            return matches!(body, crate::http1::Body::UntilClose).then(|| list.freeze());
        }
        unread = next.freeze();
        if list.len() + unread.len() > BYTES_MAX {
            return None;
        }
    }
}

/// `None`: no more comes, or too much.
async fn more(stream: &mut TcpStream, read: &mut BytesMut) -> Option<()> {
    let count = stream.read_buf(read).await.ok()?;
    (count > 0 && read.len() <= BYTES_MAX).then_some(())
}
