//! Names at a real name server.

use std::time::Duration;

use super::dnsmasq::{NameServer, is_here};
use super::{Fleet, LOAD, causes, member, members, source};
use crate::support::client::{Client, chat};
use crate::support::gateway::{Conf, Gateway, in_flight};
use crate::support::load::Load;

const NAME: &str = "vllm.test";

fn conf(server: &NameServer, source: &str) -> Conf {
    let conf = Conf::new(&[]).server(&format!("resolvers: [\"{}\"]", server.address));
    conf.pool(&format!("sources: [{source}]")).pool("health: { max_fails: 1, slow_start: 1s }")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_change_under_load_fail_nothing_and_state_stays() {
    if !is_here() {
        return;
    }
    let (mut server, fleet) = (NameServer::start().await, Fleet::new(&[11, 12, 13, 14, 15]));
    // nobody is at 19
    server.set(NAME, &[11, 12, 19]);
    let conf = conf(&server, &format!("{{ dns: \"{NAME}:{}\" }}", fleet.port));
    let gateway = Gateway::start(conf.clone()).await;
    gateway.until_status("the first answer", |status| members(status) == [11, 12, 19]).await;
    let load = Load::start(gateway.address(), LOAD);
    gateway.until_status("19 is out", |status| member(status, 19)["state"] == "ejected").await;
    let mut before = 0;
    for round in 0..12_u8 {
        let mut numbers = vec![11, 19];
        numbers.extend((12..16).filter(|number| (number + round) % 3 != 0));
        server.set(NAME, &numbers);
        numbers.sort_unstable();
        let status = gateway.until_status("the next answer", |status| members(status) == numbers).await;
        let stays = member(&status, 11)["attempts"]["ok"].as_u64().expect("a number");
        assert!(stays >= before, "its counts stay: {stays} after {before}");
        assert_eq!(member(&status, 19)["state"], "ejected", "round {round}: {status:#}");
        assert_eq!(member(&status, 11)["origin"], format!("dns {NAME}:{}", fleet.port));
        before = stays;
        if round == 6 {
            let status = gateway.reload(&conf.clone().pool("retry: { attempts: 4 }")).await;
            assert_eq!(members(&status), numbers, "a reload keeps what was found");
            assert_eq!(member(&status, 19)["state"], "ejected");
        }
    }
    let (done, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {done} failed: {:?}", failures.len(), &failures[..1]);
    let rest = gateway.until_status("nothing in flight", |status| status["requests"] == 0).await;
    assert_eq!((in_flight(&rest), &rest["config_generation"]), (0, &2.into()), "one reload");
    // what one has counted of the node that stayed is what the node has done
    let of_node = fleet.nodes[&11].stats();
    assert_eq!(member(&rest, 11)["attempts"]["ok"], of_node.completed, "{of_node:?}");
    assert!(before > 50 && done > 1000, "{before} of {done}");
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_changes_nothing_and_one_that_is_back_is_heard() {
    if !is_here() {
        return;
    }
    let (mut server, fleet) = (NameServer::start().await, Fleet::new(&[11, 12, 13]));
    server.set(NAME, &[11, 12]);
    let gateway = Gateway::start(conf(&server, &format!("{{ dns: \"{NAME}:{}\" }}", fleet.port))).await;
    gateway.until_status("the first answer", |status| members(status) == [11, 12]).await;
    let load = Load::start(gateway.address(), LOAD);
    server.kill();
    let failed = |status: &serde_json::Value| source(status)["failures"].as_u64() >= Some(3);
    let status = gateway.until_status("it has failed some times", failed).await;
    assert_eq!((members(&status), &source(&status)["nodes"]), (vec![11, 12], &2.into()));
    let error = source(&status)["error"].as_str().expect("a reason").to_owned();
    let said = causes(&status);
    assert!(said.iter().any(|text| text.contains("2 nodes that it named last stay in use")), "{said:?}");
    let metrics = gateway.admin("/metrics").await.expect("metrics");
    let label = format!("{{pool=\"sim\",source=\"dns {NAME}:{}\"}}", fleet.port);
    assert!(metrics.contains(&format!("evenkeel_source_up{label} 0\n")), "{metrics}");
    assert!(metrics.contains(&format!("evenkeel_source_nodes{label} 2\n")), "{metrics}");
    let log = gateway.process.stderr();
    assert_eq!(log.matches("the nodes that it named last stay").count(), 1, "{error}: said once:\n{log}");
    // with other addresses, and on the same port
    server.again(&[]).await;
    server.set(NAME, &[12, 13]);
    let status = gateway.until_status("it is heard", |status| members(status) == [12, 13]).await;
    assert!(source(&status)["error"].is_null() && source(&status)["failing_since"].is_null());
    let (done, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {done} failed: {:?}", failures.len(), &failures[..1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_is_believed_after_a_while_and_requests_wait_for_the_next_node() {
    if !is_here() {
        return;
    }
    let (server, fleet) = (NameServer::start().await, Fleet::new(&[11]));
    let source_of = |hold: &str| format!("{{ dns: \"{NAME}:{}\", hold: {hold} }}", fleet.port);
    let conf = |hold: &str| conf(&server, &source_of(hold)).pool("retry: { wait: 300ms }");
    let gateway = Gateway::start(conf("1h")).await;
    let mut client = Client::new(gateway.address());
    let answer = client.ask(&chat(1, false)).await.expect("an answer");
    assert_eq!(answer.head.status, 503, "nothing was found: {}", answer.body);
    let status = gateway.status().await.expect("a status");
    let said = causes(&status);
    assert!(said.iter().any(|text| text.starts_with("no source has named a node")), "{said:?}");
    server.set(NAME, &[11]);
    gateway.until_status("a node", |status| members(status) == [11]).await;
    assert_eq!(client.ask(&chat(1, false)).await.expect("an answer").head.status, 200);
    server.set(NAME, &[]);
    let status = gateway.until_status("it says none", |status| source(status)["error"].is_string()).await;
    assert_eq!(
        (source(&status)["error"].as_str(), members(&status)),
        (Some("the answer is that there are no nodes"), vec![11])
    );
    assert_eq!(client.ask(&chat(1, false)).await.expect("an answer").head.status, 200, "kept for an hour");
    let status = gateway.reload(&conf("2h")).await;
    let failures = source(&status)["failures"].as_u64();
    let asked = |status: &serde_json::Value| source(status)["failures"].as_u64() > failures;
    let status = gateway.until_status("asked again", asked).await;
    assert_eq!(members(&status), [11], "a reload keeps what was found, with another hold too");
    gateway.reload(&conf("1s").pool("queue: { timeout: 30s }")).await;
    server.set(NAME, &[11]);
    gateway.until_status("well again", |status| source(status)["error"].is_null()).await;
    server.set(NAME, &[]);
    let status = gateway.until_status("believed", |status| members(status).is_empty()).await;
    assert!(source(&status)["error"].is_null(), "it is no failure any more");
    // a request that waits gets the next node
    let waits = Conf { pool: conf("1s").pool.replace("300ms", "20s"), ..conf("1s") };
    gateway.reload(&waits).await;
    let asks = tokio::spawn(async move { client.ask(&chat(1, false)).await });
    gateway.until_status("it waits", |status| status["pools"][0]["queue"] == 1).await;
    server.set(NAME, &[11]);
    let answer = asks.await.expect("no panic").expect("an answer");
    assert_eq!(answer.head.status, 200, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_have_ports_weights_and_backups() {
    if !is_here() {
        return;
    }
    let (mut server, first, second) = (NameServer::start().await, Fleet::new(&[11, 12]), Fleet::new(&[13]));
    server.kill();
    let record = |name: &str, port: u16, priority: u16, weight: u16| {
        format!("--srv-host=_http._tcp.{NAME},{name}.test,{port},{priority},{weight}")
    };
    let records = |a: u16| {
        let host = |number: u8, name: &str| format!("--host-record={name}.test,127.0.0.{number}");
        let hosts = [host(11, "a"), host(12, "b"), host(13, "c")];
        let services =
            [record("a", first.port, 1, a), record("b", first.port, 1, 10), record("c", second.port, 2, 0)];
        hosts.into_iter().chain(services).collect::<Vec<_>>()
    };
    server.again(&records(30)).await;
    let gateway = Gateway::start(conf(&server, &format!("{{ srv: _http._tcp.{NAME} }}"))).await;
    let status = gateway.until_status("all of them", |status| members(status) == [11, 12, 13]).await;
    let settings = |status: &serde_json::Value| {
        let of = |number| {
            let node = member(status, number);
            (node["weight"].as_f64().expect("a number"), node["backup"].as_bool().expect("a switch"))
        };
        [of(11), of(12), of(13)]
    };
    assert_eq!(settings(&status), [(1.5, false), (0.5, false), (1.0, true)]);
    assert_eq!(member(&status, 13)["address"], second.address(13).to_string());
    let mut client = Client::new(gateway.address());
    for _ in 0..8 {
        let answer = client.ask(&chat(1, false)).await.expect("an answer");
        assert_ne!(answer.head.field("x-sim-node"), Some("13"), "a backup");
    }
    server.kill();
    server.again(&records(10)).await;
    let same = [(1.0, false), (1.0, false), (1.0, true)];
    gateway.until_status("equal weights", |status| settings(status) == same).await;
    tokio::time::timeout(Duration::from_secs(5), client.ask(&chat(1, true)))
        .await
        .expect("in time")
        .expect("an answer");
}
