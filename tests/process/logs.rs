//! Tests of the logs of a real process: rotation by logrotate, disks that are full or slow, standard error that nobody reads.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::client::{Client, chat};
use crate::support::gateway::{Conf, Gateway};
use crate::support::nodes::node;
use crate::support::{LIMIT, until};

/// A request with this id.
fn request(id: &str) -> String {
    chat(1, false).replacen("\r\n", &format!("\r\nX-Request-Id: {id}\r\n"), 1)
}

/// So many clients send so many requests each, one after the other; all must be answered with 200.
async fn ask(gateway: &Gateway, name: &str, clients: usize, requests: usize) {
    let mut all = JoinSet::new();
    for client in 0..clients {
        let (address, name) = (gateway.address(), name.to_owned());
        all.spawn(async move {
            let mut connection = Client::new(address);
            for number in 0..requests {
                let request = request(&format!("{name}-{client}-{number}"));
                let answer = tokio::time::timeout(LIMIT, connection.ask(&request)).await;
                let answer = answer.unwrap_or_else(|_| panic!("no answer within {LIMIT:?}: {name} {number}"));
                assert_eq!(answer.expect("an answer").head.status, 200);
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.expect("all were answered");
    }
}

fn conf(path: &str, nodes: &[std::net::SocketAddr]) -> Conf {
    Conf::new(nodes).server(&format!("access_log: {{ path: {path:?}, format: json }}"))
}

/// The times that each id is in these lines.
fn ids<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        *ids.entry(line["request_id"].as_str().expect("an id").to_owned()).or_insert(0) += 1;
    }
    ids
}

/// The shipped file, for a log in this folder and a process that no systemd runs.
fn rotation(folder: &Path, pid: u32) -> String {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/logrotate.d/evenkeel");
    let text = fs::read_to_string(shipped).expect("the shipped file");
    let systemd = "systemctl kill --signal=HUP --kill-who=main evenkeel.service";
    assert!(text.contains(systemd) && text.contains("/var/log/evenkeel/"), "{text}");
    text.replace(systemd, &format!("kill -HUP {pid}"))
        .replace("/var/log/evenkeel", &folder.display().to_string())
}

fn rotate(folder: &Path) {
    let [conf, state] = ["rotation", "state"].map(|name| folder.join(name));
    let output = Command::new("logrotate").arg("-f").arg("-s").arg(state).arg(conf).output();
    let output = output.expect("logrotate: install it (.ci/bootstrap logrotate)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The lines of a file of the rotation, unpacked.
fn lines(path: &Path) -> Vec<String> {
    let packed = path.extension().is_some_and(|ending| ending == "gz");
    let output = Command::new(if packed { "zcat" } else { "cat" }).arg(path).output().expect("a file");
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logrotate_loses_no_line_and_doubles_none() {
    if Command::new("logrotate").arg("--version").output().is_err() && std::env::var_os("CI").is_none() {
        eprintln!("no logrotate here: .ci/bootstrap logrotate brings it");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let a = node("a", Duration::ZERO);
    let mut gateway = Gateway::start(conf(&log.display().to_string(), &[a.addr()])).await;
    fs::write(folder.path().join("rotation"), rotation(folder.path(), gateway.process.pid()))
        .expect("a file");
    let mode = |path: &Path| fs::metadata(path).map(|meta| meta.permissions().mode() & 0o777).ok();
    let first = mode(&log);
    for round in 0..5 {
        // a bad config must not keep the log from being reopened
        if round == 2 {
            gateway.write("server: {");
        }
        let name = format!("r{round}");
        tokio::join!(ask(&gateway, &name, 4, 40), async {
            // an empty file is not rotated
            until("there are lines", || fs::metadata(&log).is_ok_and(|meta| meta.len() > 0)).await;
            tokio::task::block_in_place(|| rotate(folder.path()));
            until("the file is opened again", || mode(&log).is_some()).await;
        });
        assert_eq!(mode(&log), first, "the rights of the new file");
    }
    ask(&gateway, "end", 1, 1).await;
    let status = gateway.status().await.expect("a status");
    assert_eq!((&status["lost_log_lines"], &status["last_reload"]["ok"]), (&0.into(), &false.into()));
    gateway.stop(rustix::process::Signal::TERM);
    let files = fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files: Vec<_> = files
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("access")))
        .collect();
    assert_eq!(files.len(), 6, "{files:?}");
    let all: Vec<_> = files.iter().flat_map(|path| lines(path)).collect();
    let ids = ids(all.iter().map(String::as_str));
    assert_eq!((ids.len(), ids.values().max()), (5 * 4 * 40 + 1, Some(&1)), "each line once");
    assert!(lines(&log).iter().any(|line| line.contains("\"end-0-0\"")), "the last line is in the new file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_lines_which_are_counted_and_no_request() {
    let a = node("a", Duration::ZERO);
    let gateway = Gateway::start(conf("/dev/full", &[a.addr()])).await;
    ask(&gateway, "full", 4, 25).await;
    gateway.until_status("all are counted", |status| status["lost_log_lines"] == 100).await;
    let told = "access log: cannot write to /dev/full: No space left on device";
    gateway.until_logged(told).await;
    assert_eq!(gateway.process.stderr().matches(told).count(), 1, "{}", gateway.process.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_nothing_costs_lines_and_no_request_and_they_flow_again() {
    const CLIENTS: usize = 16;
    /// More than the queue and the pipe hold.
    const REQUESTS: usize = 1150;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    // as long as this is open, the gateway can open it too
    let fifo = OpenOptions::new().read(true).write(true).open(&path).expect("a FIFO");
    let a = node("a", Duration::ZERO);
    let gateway = Gateway::start(conf(&path.display().to_string(), &[a.addr()])).await;
    ask(&gateway, "slow", CLIENTS, REQUESTS).await;
    let status = gateway.until_status("lines are lost", |status| status["lost_log_lines"] != 0).await;
    let lost = status["lost_log_lines"].as_u64().expect("a number") as usize;
    let (sender, read) = channel();
    thread::spawn(move || {
        BufReader::new(fifo).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let next = || read.recv_timeout(LIMIT).expect("a line");
    let before: Vec<_> = (0..CLIENTS * REQUESTS - lost).map(|_| next()).collect();
    let before = ids(before.iter().map(String::as_str));
    assert_eq!((before.len() + lost, before.values().max()), (CLIENTS * REQUESTS, Some(&1)));
    ask(&gateway, "after", 1, 1).await;
    assert!(next().contains("\"after-0-0\""));
    let status = gateway.status().await.expect("a status");
    assert_eq!(status["lost_log_lines"], lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_error_that_nobody_reads_stops_no_request() {
    let a = node("a", Duration::ZERO);
    let mut gateway =
        Gateway::start_unread(conf("/dev/null", &[a.addr()]), &[("RUST_LOG", "evenkeel=debug")]).await;
    // far more than the pipe and the queue hold: each request is told in a line
    let name = "x".repeat(100);
    ask(&gateway, &name, 8, 700).await;
    gateway.until_status("lines are lost", |status| status["lost_own_log_lines"] != 0).await;
    gateway.process.read_stderr();
    gateway.until_logged("lines of this log were dropped: nobody read standard error fast enough").await;
    gateway.until_logged(&format!("request {name}-0-0: ")).await;
    let status = gateway.status().await.expect("a status");
    ask(&gateway, "after", 1, 1).await;
    gateway.until_logged("request after-0-0: ").await;
    let after = gateway.status().await.expect("a status");
    assert_eq!(after["lost_own_log_lines"], status["lost_own_log_lines"], "nothing more is lost");
    let (code, _) = gateway.stop(rustix::process::Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(
        gateway.process.stderr().contains("stopped: all requests have ended"),
        "the last line is written"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_ends_though_nobody_reads_standard_error() {
    let a = node("a", Duration::ZERO);
    let mut gateway =
        Gateway::start_unread(conf("/dev/null", &[a.addr()]), &[("RUST_LOG", "evenkeel=debug")]).await;
    ask(&gateway, &"x".repeat(100), 8, 700).await;
    let (code, _) = gateway.stop(rustix::process::Signal::TERM);
    assert_eq!(code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_own_log_is_json_by_switch() {
    // nobody listens there: the request fails
    let nobody = crate::support::ports::free();
    for (args, variable) in [(&["--log-format", "json"][..], ""), (&[], "json")] {
        let conf = conf("/dev/null", &[nobody]).pool("retry: { attempts: 1, wait: 0s }");
        let gateway = Gateway::start_with(conf, args, &[("EVENKEEL_LOG_FORMAT", variable)]).await;
        let answer = Client::new(gateway.address()).ask(&request("rid-1")).await.expect("an answer");
        assert!(answer.head.status >= 500, "{}", answer.head.status);
        gateway.until_logged("rid-1").await;
        let text = gateway.process.stderr();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        for line in &lines {
            assert!(
                ["time", "level", "target", "message"].iter().all(|name| line[name].is_string()),
                "{line}"
            );
        }
        let about = lines.iter().find(|line| line["rid"] == "rid-1").unwrap_or_else(|| panic!("{text}"));
        assert_eq!(
            (&about["level"], about["message"].as_str().map(|it| it.starts_with("request rid-1: "))),
            (&"warn".into(), Some(true))
        );
    }
}

#[test]
fn an_unknown_format_is_refused() {
    for (args, variable, code, why) in [
        (&["run", "--log-format", "xml"][..], "", 2, "invalid value 'xml'"),
        (&["run"], "xml", 64, "EVENKEEL_LOG_FORMAT is \"xml\"; it must be text or json"),
    ] {
        let mut command = Command::new(crate::support::process::BINARY);
        let output = command.args(args).env("EVENKEEL_LOG_FORMAT", variable).stdin(Stdio::null()).output();
        let output = output.expect("the binary starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), text.contains(why)), (Some(code), true), "{text}");
    }
}
