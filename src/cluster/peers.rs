//! The question whether a gateway lives, asked and answered: a connection gets one line with the id.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::credits::{Heard, MemberId};

/// The end of an address that Redis does not see: another machine may have the same.
pub(super) const NOT_DIRECT: char = '!';
const GREETING: &str = "evenkeel ";
/// The longest time of a question.
const ASK_WITHIN: Duration = Duration::from_secs(1);
/// Pause after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

fn line(id: MemberId) -> String {
    format!("{GREETING}{:016x}\n", id.0)
}

/// Listens on this address; where its port is taken, on another port of it.
pub(super) async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // the process that this one replaces answers there until its last request has ended
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && address.port() > 0 => {
            TcpListener::bind(SocketAddr::new(address.ip(), 0)).await
        }
        result => result,
    }
}

/// Tells all that ask the id of this gateway.
pub(super) async fn answer(listener: TcpListener, id: MemberId) {
    let line = line(id);
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                _ = timeout(ASK_WITHIN, stream.write_all(line.as_bytes())).await;
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Asks who is at this address.
pub(super) async fn ask(id: MemberId, address: String) -> Heard {
    let address = address.trim_end_matches(NOT_DIRECT);
    let Ok(address) = address.parse::<SocketAddr>() else { return Heard::Nothing };
    let question = async {
        let mut stream = match TcpStream::connect(address).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Heard::Refused,
            Err(_) => return Heard::Nothing,
        };
        let mut said = vec![0; line(id).len()];
        match stream.read_exact(&mut said).await {
            Ok(_) if said == line(id).as_bytes() => Heard::Itself,
            Ok(_) if said.starts_with(GREETING.as_bytes()) => Heard::Another,
            _ => Heard::Nothing,
        }
    };
    timeout(ASK_WITHIN, question).await.unwrap_or(Heard::Nothing)
}
