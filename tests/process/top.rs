//! Tests of `evenkeel top` as lines, against a running gateway.

use std::time::Duration;

use crate::support::client::{Client, chat};
use crate::support::gateway::{Conf, Gateway};
use crate::support::nodes::node;
use crate::support::process::Process;
use crate::support::{ports, until};

/// Tokens of a stream that lasts until its client leaves.
const ENDLESS: u32 = 1_000_000;

/// The cells of the line that begins with this, by the heading above it. No cell here has two blanks in it.
fn cells<'a>(block: &'a str, heading: &str, begin: &str) -> Vec<(&'a str, &'a str)> {
    let mut lines = block.lines().skip_while(|line| !line.trim_start().starts_with(heading));
    let names = lines.next().unwrap_or_else(|| panic!("no {heading} in\n{block}"));
    let line = lines.find(|line| line.trim_start().starts_with(begin));
    let split = |line: &'a str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
    let line = line.unwrap_or_else(|| panic!("no {begin} in\n{block}"));
    split(names).filter(|name| *name != "load").zip(split(line).filter(|cell| !cell.contains(bars))).collect()
}

fn bars(letter: char) -> bool {
    ('█'..='▏').contains(&letter)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_numbers_are_those_of_the_status() {
    let nodes = ["a", "b"].map(|name| node(name, Duration::from_millis(20)));
    let mut conf = Conf::new(&[]);
    conf.nodes = nodes
        .iter()
        .zip(["left", "right"])
        .map(|(node, name)| format!("{{ name: {name}, address: {}, max_in_flight: 7 }}", node.addr()))
        .collect();
    let gateway = Gateway::start(conf).await;
    for _ in 0..5 {
        Client::new(gateway.address()).ask(&chat(1, false)).await.expect("an answer");
    }
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut client = Client::new(gateway.address());
        client.begin(&chat(ENDLESS, true)).await.expect("a stream");
        streams.push(client);
    }
    let status = gateway.until_status("three are open", |status| status["requests"] == 3).await;
    let (code, out, err) = Process::output(&[
        "top",
        &gateway.conf.admin.to_string(),
        "--plain",
        "-n",
        "2",
        "--interval",
        "100ms",
    ]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let blocks: Vec<_> = out.split("\n\n").filter(|block| !block.is_empty()).collect();
    assert_eq!(blocks.len(), 2, "{out}");
    for block in blocks {
        let head = block.lines().next().unwrap_or_default();
        let version = format!("evenkeel {}   {}", env!("CARGO_PKG_VERSION"), gateway.conf.admin);
        for part in [&version, "3 in flight", "0 waiting", "3 open", "generation 1"] {
            assert!(head.contains(part), "{part:?} is not in {head}");
        }
        for (place, name) in ["left", "right"].into_iter().enumerate() {
            let (row, known) = (cells(block, "node ", name), &status["pools"][0]["nodes"][place]);
            let load = format!("{}/7", known["in_flight"]);
            let ok = known["attempts"]["ok"].to_string();
            let wanted =
                [("node", name), ("state", "up"), ("in flight", &load), ("queue", "0"), ("weight", "1.0")];
            assert_eq!(row[..5], wanted, "{block}");
            assert_eq!(row[6..8], [("ok", ok.as_str()), ("failed", "0")], "{block}");
        }
        for request in 6..9 {
            let row = cells(block, "number ", &format!("{request} "));
            assert_eq!(
                row[..3],
                [("number", &*request.to_string()), ("state", "streaming"), ("pool", "sim")],
                "{block}"
            );
        }
    }
    drop(streams);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_for_a_gateway_that_does_not_answer() {
    let a = node("a", Duration::ZERO);
    let conf = Conf::new(&[a.addr()]);
    let address = format!("http://{}", conf.admin);
    let mut top = Process::start(&["top", "--admin", &address, "--plain", "--interval", "100ms"]);
    until("it says so", || {
        top.stdout().contains(&format!("!! no answer from {} since 0 s, trying again", conf.admin))
    })
    .await;
    let mut gateway = Gateway::start(conf.clone()).await;
    until("it goes on", || top.stdout().contains("generation 1")).await;
    gateway.stop(rustix::process::Signal::TERM);
    let after = top.stdout().len();
    until("it says so again", || top.stdout()[after..].contains("!! no answer")).await;
    let _gateway = Gateway::start(conf).await;
    let after = top.stdout().len();
    until("it goes on again", || top.stdout()[after..].contains("generation 1")).await;
    top.signal(rustix::process::Signal::TERM);
    assert_eq!(top.wait().code(), Some(0), "{}", top.stderr());
}

#[test]
fn what_cannot_be_shown_is_said() {
    let nobody = ports::free().to_string();
    for (args, want, why) in [
        (vec!["top", &nobody, "--plain", "-n", "1"], 1, "evenkeel: no answer from"),
        (vec!["top", "ftp://127.0.0.1:1"], 64, "a host and a port"),
        (vec!["top", "-c", "/nowhere/evenkeel.yaml"], 64, "cannot be read"),
        (vec!["top", &nobody, "--interval", "1ms"], 2, "not within 100ms and 1h"),
        (vec!["top", &nobody, "--admin", &nobody], 2, "cannot be used with"),
    ] {
        let (code, _, stderr) = Process::output(&args);
        assert_eq!(code, want, "{args:?}: {stderr}");
        assert!(stderr.contains(why), "{args:?}: {stderr}");
    }
}
