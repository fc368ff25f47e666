//! Every path of the gateway's table, whatever stands before it and with a final slash: the node speaks it, a failure there
//! is hidden, and the gateway's own error has its form.

use evenkeel::classify::dialect::{DIALECTS, Dialect};
use evenkeel::config::Engine;
use evenkeel::sim::{Node, Options};

use super::super::harness::{self, Gateway, free_port, pool_of};
use super::answer::{ask, is_error};
use super::api::request;
use super::pool_conf;

/// A body for every dialect.
const ASK: &str = r#""messages":[{"role":"user","content":"sea"}],"prompt":"sea","input":"sea","inputs":"sea","text":"sea""#;

struct Run {
    gateway: Gateway,
    first: Node,
    second: Node,
}

/// The faults found.
pub(crate) async fn known_by_their_endings() -> Vec<String> {
    let node = |name: &str| {
        harness::node(Options { engine: Engine::Generic, name: name.to_owned(), ..Options::default() })
    };
    let (first, second) = (node("a"), node("b"));
    let away = format!("\"127.0.0.1:{}\"", free_port());
    let pools = pool_conf("m", &first, &second)
        + &pool_of(
            "away",
            &away,
            "models: [away], retry: { wait: off, attempts: 1 }, health: { max_fails: 0 }",
        );
    let run = Run { gateway: Gateway::with("", &pools).await, first, second };
    let mut wrong = Vec::new();
    for dialect in &DIALECTS {
        for ending in dialect.paths {
            for path in [format!("/v1{ending}"), format!("/proxy/v1{ending}"), format!("/proxy/v1{ending}/")]
            {
                wrong.extend(run.try_path(dialect, &path).await.err());
            }
        }
    }
    wrong
}

impl Run {
    async fn try_path(&self, dialect: &Dialect, path: &str) -> Result<(), String> {
        let is_form = path.contains("/audio/tr");
        let body = |model: &str| request(model, if is_form { "" } else { ASK });
        let direct = ask(self.second.addr(), path, body("m")).await;
        if direct.status != 200 {
            return Err(format!("{path}: the simulated node does not speak it: {direct:?}"));
        }
        self.first.set_fault(harness::fault("status:500,times=1"));
        let asked = self.second.stats().received;
        let answer = ask(self.gateway.address, path, body("m")).await;
        if answer.status != 200 || self.second.stats().received != asked + 1 {
            return Err(format!("{path}: not retried: {answer:?}"));
        }
        let answer = ask(self.gateway.address, path, body("away")).await;
        let value = serde_json::from_str(&answer.body).unwrap_or_default();
        if answer.status < 500 || !is_error(dialect.shape, &value, false) {
            return Err(format!("{path}: not of the form {:?}: {answer:?}", dialect.shape));
        }
        Ok(())
    }
}
