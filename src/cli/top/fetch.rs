//! Asking the gateway, in a thread of its own: keys are heard while it does not answer.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::model::Picture;
use crate::cli::admin::Admin;

/// Longest wait for each step of a try.
const LIMIT: Duration = Duration::from_secs(5);

/// The open requests that are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub order: &'static str,
    pub is_ascending: bool,
    pub limit: usize,
}

pub(super) type Tried = Result<Picture, String>;

/// One try.
pub(super) fn fetch(admin: &Admin, wanted: Wanted) -> Tried {
    let Wanted { order, is_ascending, limit } = wanted;
    let direction = if is_ascending { "asc" } else { "desc" };
    let path = format!("/api/requests?limit={limit}&sort={order}&order={direction}");
    Ok(Picture { status: get(admin, "/api/status")?, open: get(admin, &path)? })
}

fn get<T: DeserializeOwned>(admin: &Admin, path: &str) -> Result<T, String> {
    let (status, body) = admin.exchange("GET", path, LIMIT).map_err(|error| error.to_string())?;
    if status != 200 {
        return Err(format!("it answers {status} to {path}"));
    }
    serde_json::from_slice(&body).map_err(|_| format!("its answer to {path} is none of an evenkeel"))
}

/// Tries again and again, from the begin of one to that of the next this long, until the receiver is gone.
pub(super) fn follow(admin: Admin, every: Duration, wanted: Arc<Mutex<Wanted>>) -> Receiver<Tried> {
    let (sender, tries) = sync_channel(1);
    thread::spawn(move || {
        loop {
            let began = Instant::now();
            let tried = fetch(&admin, *wanted.lock());
            if sender.send(tried).is_err() {
                break;
            }
            thread::sleep(every.saturating_sub(began.elapsed()));
        }
    });
    tries
}
