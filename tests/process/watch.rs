//! Tests of `run --watch`: the config as a Kubernetes volume, whose files change by the swap of one link.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::gateway::{Conf, Gateway, in_flight};
use crate::support::load::{Connection, Load, Plan};
use crate::support::nodes::node;

/// A folder as the kubelet lays out a ConfigMap: `evenkeel.yaml` links into `..data`, which links to the folder of one version.
struct Volume {
    folder: tempfile::TempDir,
    versions: usize,
}

impl Volume {
    fn new(text: &str) -> Self {
        let mut volume = Self { folder: tempfile::tempdir().expect("a directory"), versions: 0 };
        volume.put(text);
        symlink("..data/evenkeel.yaml", volume.config()).expect("a link");
        volume
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("evenkeel.yaml")
    }

    /// The next version: written whole, then the link is swapped, and the old one removed.
    fn put(&mut self, text: &str) {
        let (root, old) = (self.folder.path(), format!("..{}", self.versions));
        self.versions += 1;
        let new = format!("..{}", self.versions);
        fs::create_dir(root.join(&new)).expect("a directory");
        fs::write(root.join(&new).join("evenkeel.yaml"), text).expect("a file");
        symlink(&new, root.join("..data_tmp")).expect("a link");
        fs::rename(root.join("..data_tmp"), root.join("..data")).expect("the same directory");
        let _ = fs::remove_dir_all(root.join(old));
    }
}

fn reload_failures(status: &Value) -> u64 {
    status["last_reload"]["failures"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_volume_is_in_use_without_a_signal_and_fails_no_request() {
    let nodes = ["a", "b"].map(|name| node(name, Duration::from_millis(20)));
    let both = Conf::new(&nodes.each_ref().map(|node| node.addr()));
    let mut one = both.clone();
    one.nodes.truncate(1);
    let mut volume = Volume::new(&one.text());
    let gateway = Gateway::start_watching(one.clone(), &volume.config()).await;
    let pause = Duration::from_millis(20);
    let plan = Plan { clients: 32, tokens: 5, pause, stream: None, connection: Connection::Kept };
    let load = Load::start(gateway.address(), plan);
    gateway.until_status("under load", |status| in_flight(status) > 0).await;
    for (round, conf) in [&both, &one, &both].into_iter().enumerate() {
        volume.put(&conf.text());
        let generation = 2 + round as u64;
        gateway.until_status("the next version", |s| s["config_generation"] == generation).await;
    }
    let (done, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {done} failed: {:?}", failures.len(), &failures[..1]);
    println!("3 swaps under load: {done} requests, none failed");
    assert!(done > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_version_is_refused_once_and_the_next_one_is_tried() {
    let a = node("a", Duration::ZERO);
    let conf = Conf::new(&[a.addr()]);
    let mut volume = Volume::new(&conf.text());
    let gateway = Gateway::start_watching(conf.clone(), &volume.config()).await;
    volume.put("pools: 3\n");
    let status = gateway.until_status("it is refused", |status| reload_failures(status) > 0).await;
    assert_eq!(status["config_generation"], 1, "the old one stays in use");
    let stderr = gateway.process.stderr();
    assert!(
        stderr.contains("reload refused, generation 1 stays in use") && stderr.contains("1: pools: "),
        "{stderr}"
    );
    // the watch has looked again when it finds the next version, and has not refused the same one twice
    volume.put(&conf.clone().server("response_headers: off").text());
    let status = gateway.until_status("the next one", |status| status["config_generation"] == 2).await;
    assert_eq!(reload_failures(&status), 1);
    assert_eq!(status["last_reload"]["error"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_option_a_changed_file_waits_for_a_signal() {
    let a = node("a", Duration::ZERO);
    let (conf, other) = (Conf::new(&[a.addr()]), Conf::new(&[a.addr()]));
    let mut volume = Volume::new(&other.text());
    let gateway = Gateway::start(conf.clone()).await;
    let witness = Gateway::start_watching(other.clone(), &volume.config()).await;
    gateway.write(&conf.clone().server("response_headers: off").text());
    volume.put(&other.server("response_headers: off").text());
    witness.until_status("it has looked", |status| status["config_generation"] == 2).await;
    assert_eq!(gateway.status().await.expect("a status")["config_generation"], 1);
}
