//! `evenkeel demo --story NAME`: plays a trouble that people have with a fleet, so that it can be seen on the gateway's page.
//!
//! Only the trouble is staged: nodes are simulated, the gateway is the one that `run` starts, and the page is its own.

mod script;
mod theatre;

use std::io::{self, Write};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

pub(crate) use self::script::Tale;
pub(crate) use self::theatre::Addresses;
use self::theatre::Theatre;
use super::setup::Trouble;
use crate::status::Cause;

const LOOK: Duration = Duration::from_millis(200);

/// Plays the story until the time is over, or `stop` is set.
pub(super) fn play(
    tale: Tale,
    addresses: Addresses,
    limit: Option<Duration>,
    stop: &AtomicBool,
) -> Result<(), Trouble> {
    let folder = env::temp_dir().join(format!("evenkeel-story-{}", process::id()));
    fs::create_dir_all(&folder).map_err(|error| Trouble::failure("cannot make a folder", error))?;
    let script = tale.script();
    say(&format!("{}\nsee it at http://{}/", script.about, addresses.admin));
    let played = perform(Theatre::open(script, addresses, &folder), limit, stop);
    // a folder that stays holds one small file
    let _ = fs::remove_dir_all(&folder);
    played
}

fn perform(
    theatre: Result<Theatre, Trouble>,
    limit: Option<Duration>,
    stop: &AtomicBool,
) -> Result<(), Trouble> {
    let mut theatre = theatre?;
    let began = Instant::now();
    let mut told: Vec<Cause> = Vec::new();
    while !stop.load(Ordering::Acquire) && limit.is_none_or(|limit| began.elapsed() < limit) {
        if !theatre.is_alive() {
            return Err(Trouble::failure(
                "the gateway has ended",
                "its log tells the reason (RUST_LOG=info)",
            ));
        }
        for act in theatre.play() {
            say(&format!("{:>4.0} s  {act}", began.elapsed().as_secs_f64()));
        }
        let causes = theatre.causes();
        for cause in causes.iter().filter(|cause| !told.iter().any(|before| is_same(before, cause))) {
            say(&format!(
                "{:>4.0} s  {}: {}",
                began.elapsed().as_secs_f64(),
                cause.severity.as_str(),
                cause.text
            ));
        }
        told = causes;
        thread::sleep(LOOK);
    }
    say(&theatre.summary());
    theatre.end();
    Ok(())
}

/// The same cause, whatever its numbers are now.
fn is_same(a: &Cause, b: &Cause) -> bool {
    let words = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).take(24).collect::<String>();
    a.severity == b.severity && a.node == b.node && words(&a.text) == words(&b.text)
}

/// A closed pipe must not cause a panic.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
