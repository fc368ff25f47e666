//! Checks that the shipped files agree: configs load, and unit, image and compose file use the right paths and times.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use evenkeel::config::Config;

use super::read;
use super::source::{files, root, shown};

const UNIT: &str = "deploy/systemd/evenkeel.service";
const COMPOSE: &str = "deploy/compose.yaml";
const DOCKERFILE: &str = "deploy/Dockerfile";
const CHART: &str = "deploy/helm/evenkeel/Chart.yaml";
const CONFIG_MAP: &str = "deploy/kubernetes/configmap.yaml";
const VALUES: &str = "deploy/helm/evenkeel/values.yaml";
/// The path of the config on the machine that runs the gateway.
const INSTALLED: &str = "/etc/evenkeel/";

fn load(path: &str) -> Config {
    Config::load(&root().join(path)).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The values of a key of the unit, such as `ExecReload` in `ExecReload=evenkeel check`.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::trim).collect()
}

fn minutes(text: &str) -> Duration {
    let number: String = text.chars().take_while(char::is_ascii_digit).collect();
    assert!(matches!(text.trim_start_matches(&*number), "m" | "min"), "{text}: this test reads minutes only");
    Duration::from_secs(60 * number.parse::<u64>().expect("a number of minutes"))
}

#[test]
fn every_config_loads() {
    let shipped: Vec<_> = ["conf", "deploy"]
        .into_iter()
        .flat_map(files)
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    let mut loaded = 0;
    for path in shipped {
        // deploy/ also contains files of other programs
        if fs::read_to_string(&path).expect("UTF-8").lines().any(|line| line.starts_with("pools:")) {
            load(&shown(&path));
            loaded += 1;
        }
    }
    assert!(loaded >= 3, "only {loaded} configs in conf/ and deploy/");
}

/// Every config in /etc/evenkeel that deploy/ mentions exists in conf/ under the same name.
#[test]
fn mounted_configs_are_in_conf() {
    let mut named = BTreeSet::new();
    for path in files("deploy") {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for rest in text.split(INSTALLED).skip(1) {
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
            if name.ends_with(".yaml") {
                named.insert(name);
            }
        }
    }
    assert!(named.contains("evenkeel.yaml"), "deploy/ uses {named:?}");
    named.iter().for_each(|name| {
        load(&format!("conf/{name}"));
    });
    assert!(read(COMPOSE).contains("- ../conf:/etc/evenkeel:ro"), "{COMPOSE} mounts conf/");
    assert!(
        read(DOCKERFILE).contains("COPY conf/evenkeel.yaml /etc/evenkeel/"),
        "{DOCKERFILE} brings conf/evenkeel.yaml"
    );
}

/// Otherwise requests in flight would be killed before `drain_timeout`.
#[test]
fn a_stop_waits_for_longer_than_the_drain() {
    let drain = load("conf/evenkeel.yaml").server.drain_timeout;
    for (path, key) in [(UNIT, "TimeoutStopSec="), (COMPOSE, "stop_grace_period:")] {
        let waits = values(&read(path), key).first().map(|text| minutes(text));
        assert!(
            waits.is_some_and(|waits| waits > drain),
            "{path}: {key} {waits:?} must be above drain_timeout, {drain:?}"
        );
    }
}

#[test]
fn a_reload_checks_the_file_first() {
    let unit = read(UNIT);
    let reload = values(&unit, "ExecReload=");
    let config = format!("{INSTALLED}evenkeel.yaml");
    assert_eq!(reload, [format!("evenkeel check -c {config}").as_str(), "sh -c \"kill -HUP $MAINPID\""]);
    assert_eq!(values(&unit, "ExecStart="), [format!("evenkeel run -c {config}")]);
}

/// The gateway takes only sockets whose addresses are in its config.
#[test]
fn the_socket_unit_listens_where_the_package_does() {
    let listen = &load("deploy/debian/evenkeel.yaml").server.listen;
    let listen: Vec<_> = listen.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(values(&read("deploy/systemd/evenkeel.socket"), "ListenStream="), listen);
}

/// [`a_stop_waits_for_longer_than_the_drain`] holds for the process that an upgrade has replaced only if it gets SIGTERM, too.
#[test]
fn the_unit_follows_an_upgrade_and_cuts_no_process_of_it() {
    let unit = read(UNIT);
    for (key, value) in [("Type=", "notify"), ("NotifyAccess=", "all"), ("KillMode=", "control-group")] {
        assert_eq!(values(&unit, key), [value], "{key}");
    }
    assert_eq!(values(&unit, "WatchdogSec=").len(), 1);
}

#[test]
fn a_failed_start_is_retried_for_ever() {
    let unit = read(UNIT);
    assert_eq!(values(&unit, "Restart="), ["always"]);
    assert_eq!(values(&unit, "StartLimitIntervalSec="), ["0"]);
    assert!(values(&unit, "RestartPreventExitStatus=").is_empty());
}

#[test]
fn the_health_check_asks_where_the_config_listens() {
    let admin = load("conf/evenkeel.yaml")
        .server
        .admin
        .address
        .expect("conf/evenkeel.yaml has an admin address")
        .to_string();
    for (path, key) in [(COMPOSE, "EVENKEEL_ADMIN:"), (DOCKERFILE, "ENV EVENKEEL_ADMIN=")] {
        assert_eq!(values(&read(path), key), [admin.as_str()], "{path}");
    }
}

/// The text of a block (`key: |`), without its indentation.
fn block(text: &str, key: &str) -> String {
    let mut lines = text.lines().skip_while(|line| line.trim_start() != key);
    let depth = |line: &str| line.len() - line.trim_start().len();
    let outer = depth(lines.next().unwrap_or_else(|| panic!("no {key}")));
    let lines = lines.take_while(|line| line.trim().is_empty() || depth(line) > outer);
    lines.map(|line| line.get(outer + 2..).unwrap_or_default().to_owned() + "\n").collect()
}

/// The chart and the manifests have the same config, which is checked here where neither Helm nor a schema is at hand.
#[test]
fn the_config_for_kubernetes_loads() {
    let of_chart = block(&read(VALUES), "config: |");
    let of_manifests = block(&read(CONFIG_MAP), "evenkeel.yaml: |");
    assert_eq!(of_chart.trim(), of_manifests.trim(), "run tests/kubernetes/run --write");
    let config = Config::parse(&of_chart, VALUES).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.server.stop_delay > Duration::ZERO, "balancers learn late that a pod is leaving");
}

#[test]
fn versions_agree() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(values(&read(COMPOSE), "image: evenkeel:"), [version]);
    let chart = read(CHART);
    for key in ["version:", "appVersion:"] {
        assert_eq!(values(&chart, key), [version], "{CHART}: {key}");
    }
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(read(DOCKERFILE).contains(&format!("FROM rust:{rust}-")), "{DOCKERFILE} builds with Rust {rust}");
}

/// The script that the tests run is the one that the README shows.
#[test]
fn the_readme_shows_the_script_of_nodes_that_register_themselves() {
    let (readme, script) = (read("README.md"), read("conf/register.sh"));
    let shown = script.lines().skip_while(|line| !line.starts_with("vllm serve"));
    let missing: Vec<_> = shown.filter(|line| !readme.contains(line)).collect();
    assert!(missing.is_empty() && script.contains("\nvllm serve"), "README.md lacks {missing:#?}");
}
