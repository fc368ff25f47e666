//! Files of nodes: replaced, broken, gone, and behind Kubernetes' links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Fleet, LOAD, causes, member, members, source};
use crate::support::gateway::{Conf, Gateway, in_flight};
use crate::support::load::Load;
use crate::support::process::Process;

fn conf(path: &Path) -> Conf {
    let source = format!("sources: [{{ file: {} }}]", path.display());
    Conf::new(&[]).pool(&source).pool("health: { slow_start: 1s }")
}

/// Replaces a file as a whole.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a file");
    fs::rename(new, path).expect("the same folder");
}

/// A file of these nodes, in one of its forms.
fn list(fleet: &Fleet, numbers: &[u8], form: u8) -> String {
    let addresses = numbers.iter().map(|number| fleet.address(*number));
    match form % 3 {
        0 => addresses.map(|address| format!("- {address}\n")).collect(),
        1 => serde_json::json!(addresses.map(|address| address.to_string()).collect::<Vec<_>>()).to_string(),
        _ => serde_json::json!([{ "targets": addresses.map(|address| address.to_string()).collect::<Vec<_>>() }])
            .to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_replacements_under_load_fail_nothing() {
    let (directory, fleet) = (tempfile::tempdir().expect("a folder"), Fleet::new(&[21, 22, 23, 24]));
    let path = directory.path().join("nodes.yaml");
    replace(&path, &list(&fleet, &[21, 22], 0));
    let gateway = Gateway::start(conf(&path)).await;
    gateway.until_status("the first list", |status| members(status) == [21, 22]).await;
    let load = Load::start(gateway.address(), LOAD);
    for round in 0..50_u8 {
        let numbers: Vec<u8> = (21..25).filter(|number| *number == 21 || (number + round) % 3 != 0).collect();
        replace(&path, &list(&fleet, &numbers, round));
        gateway.until_status("the next list", |status| members(status) == numbers).await;
    }
    let (done, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {done} failed: {:?}", failures.len(), &failures[..1]);
    let rest = gateway.until_status("nothing in flight", |status| status["requests"] == 0).await;
    assert_eq!((in_flight(&rest), &rest["config_generation"]), (0, &1.into()));
    assert_eq!(member(&rest, 21)["attempts"]["ok"], fleet.nodes[&21].stats().completed, "its counts stay");
    assert_eq!(source(&rest)["failures"], 0, "no half file was read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_broken_or_gone_keeps_the_last_list() {
    let (directory, fleet) = (tempfile::tempdir().expect("a folder"), Fleet::new(&[21, 22]));
    let path = directory.path().join("nodes.yaml");
    let gateway = Gateway::start(conf(&path)).await;
    let status = gateway.until_status("not there yet", |status| source(status)["failures"] == 1).await;
    assert_eq!((source(&status)["answered"].as_bool(), members(&status)), (Some(false), vec![]));
    replace(&path, &list(&fleet, &[21], 0));
    gateway
        .until_status("there", |status| members(status) == [21] && source(status)["error"].is_null())
        .await;
    let wrong = |text: &'static str| {
        move |status: &serde_json::Value| {
            source(status)["error"].as_str().is_some_and(|why| why.contains(text))
        }
    };
    for (text, why) in [
        ("- 127.0.0.1", "nodes.yaml:1: [0]: `127.0.0.1` is not the address of a node: it has no port"),
        ("", "is empty; write `[]` for no nodes at all"),
        ("- a:1\n- a:1\n- b", "the address a:1 is already on line 1 (the first of 2 problems)"),
    ] {
        replace(&path, text);
        let status = gateway.until_status(why, wrong(why)).await;
        assert_eq!(members(&status), [21], "{text}");
        let said = causes(&status);
        assert!(said.iter().any(|text| text.contains("1 node that it named last stay")), "{said:?}");
    }
    fs::remove_file(&path).expect("it is there");
    let status = gateway.until_status("gone", wrong("cannot be read")).await;
    assert_eq!(members(&status), [21]);
    replace(&path, &list(&fleet, &[22], 1));
    let status = gateway.until_status("back", |status| members(status) == [22]).await;
    assert!(source(&status)["error"].is_null());
    replace(&path, "[]");
    gateway.until_status("none, as it says", |status| members(status).is_empty()).await;
}

#[test]
fn check_reads_the_file_if_it_is_there() {
    let directory = tempfile::tempdir().expect("a folder");
    let (config, path) = (directory.path().join("gateway.yaml"), directory.path().join("nodes.yaml"));
    fs::write(&config, conf(Path::new("nodes.yaml")).text()).expect("a file");
    let check = || Process::output(&["check", "-c", &config.display().to_string()]);
    let (code, out, _) = check();
    assert!(
        code == 0 && out.contains("1 pool, 0 nodes, 1 source of nodes"),
        "it may come later: {code} {out}"
    );
    fs::write(&path, "- a:1\n").expect("a file");
    assert_eq!(check().0, 0);
    fs::write(&path, "- a:1\n- b\n").expect("a file");
    let (code, _, err) = check();
    let problem = "nodes.yaml:2: [1]: `b` is not the address of a node: it has no port; write host:port";
    assert!(code == 64 && err.contains(problem), "{code} {err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_followed_and_nodes_of_the_config_go_first() {
    let (directory, fleet) = (tempfile::tempdir().expect("a folder"), Fleet::new(&[21, 22, 23]));
    // as Kubernetes mounts a ConfigMap: nodes.yaml -> ..data/nodes.yaml, ..data -> ..1
    let data = |name: &str, numbers: &[u8]| {
        let folder = directory.path().join(name);
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("nodes.yaml"), list(&fleet, numbers, 0)).expect("a file");
    };
    data("..1", &[21, 22]);
    symlink("..1", directory.path().join("..data")).expect("a link");
    let path = directory.path().join("nodes.yaml");
    symlink("..data/nodes.yaml", &path).expect("a link");
    let mut with_fixed = conf(&path);
    with_fixed.nodes = vec![format!("{{ address: {}, weight: 3 }}", fleet.address(21))];
    let gateway = Gateway::start(with_fixed).await;
    let status = gateway.until_status("both", |status| members(status) == [21, 22]).await;
    let of = |number| (member(&status, number)["origin"].clone(), member(&status, number)["weight"].clone());
    assert_eq!(of(21), ("config".into(), 3.0.into()));
    assert_eq!(of(22), (format!("file {}", path.display()).into(), 1.0.into()));
    assert_eq!(
        source(&status)["left_out"],
        serde_json::json!([{ "address": fleet.address(21).to_string(), "reason": "the pool has a node with this address already" }])
    );
    gateway.until_logged("is left out: the pool has a node with this address already").await;
    data("..2", &[23]);
    symlink("..2", directory.path().join("..data_tmp")).expect("a link");
    fs::rename(directory.path().join("..data_tmp"), directory.path().join("..data")).expect("swapped");
    gateway.until_status("the next data", |status| members(status) == [21, 23]).await;
}
