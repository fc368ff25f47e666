//! HTTP/2 clients that share one connection as long as it accepts requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) struct Http2Load {
    stop: Arc<AtomicBool>,
    client: JoinHandle<(u64, u64, Vec<String>)>,
}

impl Http2Load {
    /// Starts a client that keeps eight requests in flight.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = tokio::spawn(run(address, Arc::clone(&stop)));
        Self { stop, client }
    }

    /// Requests answered, connections used, and errors.
    pub(crate) async fn finish(self) -> (u64, u64, Vec<String>) {
        self.stop.store(true, Ordering::Release);
        self.client.await.expect("a client does not panic")
    }
}

async fn run(address: SocketAddr, stop: Arc<AtomicBool>) -> (u64, u64, Vec<String>) {
    let (mut done, mut connections, mut failures) = (0, 0, Vec::new());
    while !stop.load(Ordering::Acquire) {
        connections += 1;
        let mut sender = match connect(address).await {
            Ok(sender) => sender,
            Err(error) => {
                failures.push(error);
                continue;
            }
        };
        // a connection that accepts no more requests is replaced, as every client does
        while sender.ready().await.is_ok() && !stop.load(Ordering::Acquire) {
            let asked: Vec<_> = (0..8).map(|_| tokio::spawn(one(sender.clone()))).collect();
            for answer in asked {
                match answer.await.expect("no panic") {
                    Ok(answered) => done += u64::from(answered),
                    Err(failure) => failures.push(failure),
                }
            }
        }
    }
    (done, connections, failures)
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let shaken = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}

/// True if the request was answered, false if it was never sent, which is not a failure.
async fn one(mut sender: SendRequest<Full<Bytes>>) -> Result<bool, String> {
    let body = r#"{"messages":[{"role":"user","content":"sea"}],"max_tokens":3,"stream":true}"#;
    let request = Request::post("http://gateway/v1/chat/completions").body(Full::from(body));
    let answer = sender.send_request(request.expect("a request")).await;
    let answer = match answer {
        Err(error) if error.is_canceled() => return Ok(false),
        answer => answer.map_err(|error| format!("{error:?}"))?,
    };
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| format!("in the body: {error:?}"))?;
    let whole = body.to_bytes().ends_with(b"data: [DONE]\n\n");
    if status == StatusCode::OK && whole { Ok(true) } else { Err(format!("{status}, whole: {whole}")) }
}
