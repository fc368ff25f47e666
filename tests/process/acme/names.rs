//! A name server that says of every name that it is here.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const HEADER: usize = 12;
const TYPE_A: u16 = 1;

pub(super) struct Names {
    pub address: SocketAddr,
    task: JoinHandle<io::Result<()>>,
}

impl Names {
    pub(super) async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = socket.local_addr().expect("its own");
        Self { address, task: tokio::spawn(serve(socket)) }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket) -> io::Result<()> {
    let mut query = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut query).await?;
        if let Some(answer) = answer(&query[..length]) {
            socket.send_to(&answer, from).await?;
        }
    }
}

/// RFC 1035 section 4.1.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = HEADER;
    while *query.get(end)? > 0 {
        end += 1 + usize::from(query[end]);
    }
    let kind = u16::from_be_bytes([*query.get(end + 1)?, *query.get(end + 2)?]);
    let question = query.get(HEADER..end + 5)?;
    let has_answer = kind == TYPE_A;
    let mut answer = vec![query[0], query[1], 0x81, 0x80, 0, 1, 0, u8::from(has_answer), 0, 0, 0, 0];
    answer.extend(question);
    if has_answer {
        // the name of the question, class IN, not to be kept
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
