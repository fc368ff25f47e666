//! Tests of the config: texts in, configs or problems out.

mod accepted;
mod auto;
mod beside;
mod cluster;
mod environment;
mod hostile;
mod keys;
mod notices;
mod reach;
mod refused;
mod refused_pools;
mod registration;
mod reload;
mod shipped;
mod sources;
mod units;

use super::Config;

/// The smallest server, in one line.
const SERVER: &str = "server: { listen: 127.0.0.1:9999 }\n";
/// The smallest pools, in one line.
const POOLS: &str = "pools: { a: { nodes: [n1:80, n2:80] } }\n";

fn parse(text: &str) -> Config {
    Config::parse(text, "t.yaml").unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems as they are printed, without the file's name.
fn problems(text: &str) -> Vec<String> {
    let problems = Config::parse(text, "t").expect_err("a text with problems");
    problems.to_string().lines().map(|line| line.trim_start_matches("t:").trim_start().to_owned()).collect()
}
