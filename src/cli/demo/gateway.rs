//! The demo's gateway, in a thread of this process.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::setup::Trouble;
use crate::config::Config;
use crate::live::Live;
use crate::reload::Reloader;
use crate::server::{Options, Server, StopHandle, stop_handle};

/// Time limit for the gateway to listen.
const START_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

pub(super) struct Running {
    pub live: Arc<Live>,
    pub reloader: Arc<Reloader>,
    pub stop: StopHandle,
    pub thread: JoinHandle<()>,
}

/// Starts a gateway with this configuration. `source`: the file to reload, or words for problems.
pub(super) fn start(text: &str, source: PathBuf) -> Result<Running, Trouble> {
    let config = Config::parse(text, &source.to_string_lossy());
    let config = config.map_err(|problems| Trouble::failure("cannot start", problems))?;
    let options =
        Options { config: source, watch: None, upgrade: false, upgrade_sock: PathBuf::new(), alone: false };
    let server = Server::new(config, &options).map_err(|error| Trouble::failure("cannot start", error))?;
    let (live, reloader) = (Arc::clone(&server.live), Arc::clone(&server.reloader));
    let (stop, stopping) = stop_handle();
    let thread = thread::Builder::new().name("gateway".into()).spawn(move || server.run(stopping));
    let thread = thread.map_err(|error| Trouble::failure("cannot start", error))?;
    Ok(Running { live, reloader, stop, thread })
}

/// Returns once the gateway listens.
pub(super) fn wait_for(address: SocketAddr, gateway: &JoinHandle<()>) -> Result<(), Trouble> {
    let end = Instant::now() + START_WITHIN;
    while TcpStream::connect_timeout(&address, START_WITHIN).is_err() {
        if gateway.is_finished() || Instant::now() > end {
            return Err(Trouble::failure("the gateway does not listen", address));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}
