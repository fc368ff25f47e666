//! The usual configs of HAProxy and of LiteLLM's proxy, translated, in front of two nodes.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use evenkeel::sim::Node;

use crate::support::client::Client;
use crate::support::nodes::node;
use crate::support::process::Process;
use crate::support::{ports, until};

/// A gateway with a translated config.
struct Imported {
    gateway: Process,
    listen: SocketAddr,
    nodes: [Node; 2],
    _directory: tempfile::TempDir,
}

impl Imported {
    /// `listens`: the address in the result, which another one takes the place of.
    async fn start(program: &str, text: &str, listens: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let nodes = ["a", "b"].map(|name| node(name, Duration::from_millis(1)));
        let [a, b] = nodes.each_ref().map(|node| node.addr().to_string());
        let text = text.replace("10.0.0.11:8000", &a).replace("10.0.0.12:8000", &b);
        let [conf, out] =
            ["conf", "evenkeel.yaml"].map(|name| directory.path().join(name).display().to_string());
        fs::write(&conf, text).expect("a file");
        let (code, printed, notes) = Process::output(&["import", program, &conf, "-o", &out]);
        assert_eq!((code, printed.as_str()), (0, ""), "{notes}");
        assert!(notes.contains(&format!("{conf}:")) && notes.contains(": warning: "), "{notes}");
        let (code, _, problems) = Process::output(&["check", "-c", &out]);
        assert_eq!(code, 0, "{problems}");
        let (listen, admin) = (ports::free(), ports::free());
        let yaml = fs::read_to_string(&out).expect("a config");
        assert!(yaml.contains(listens), "{yaml}");
        // tests beside this one have the default of the admin address
        let yaml = yaml.replacen("server:\n", &format!("server:\n  admin: {admin}\n"), 1);
        fs::write(&out, yaml.replace(listens, &listen.to_string())).expect("a file");
        let gateway = Process::start(&["run", "-c", &out]);
        until("it listens", || std::net::TcpStream::connect(listen).is_ok()).await;
        Self { gateway, listen, nodes, _directory: directory }
    }

    /// Sends some requests, which all must be answered whole; the names of the nodes that did, and the last answer.
    async fn ask(&self, model: &str) -> (BTreeSet<String>, String) {
        let mut client = Client::new(self.listen);
        let (mut by, mut last) = (BTreeSet::new(), String::new());
        let body = format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"sea"}}],"max_tokens":3,"stream":true}}"#
        );
        let length = body.len();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        for _ in 0..6 {
            let answer = client.ask(&request).await.expect("an answer");
            assert_eq!(answer.head.status, 200, "{}\n{}", answer.body, self.gateway.stderr());
            assert!(answer.body.ends_with("data: [DONE]\n\n"), "{}", answer.body);
            by.insert(answer.head.field("x-evenkeel-node").expect("a node").to_owned());
            last = answer.body;
        }
        (by, last)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxys_usual_config_serves() {
    let imported =
        Imported::start("haproxy", include_str!("../import/haproxy/01-usual.cfg"), "0.0.0.0:8080").await;
    let (by, _) = imported.ask("sim").await;
    assert_eq!(by, ["gpu1", "gpu2"].map(str::to_owned).into(), "the servers keep their names");
}

#[tokio::test(flavor = "multi_thread")]
async fn litellms_usual_config_serves_under_the_clients_name_for_the_model() {
    let text = include_str!("../import/litellm/01-usual.yml")
        .replace("hosted_vllm/Qwen/Qwen3-8B", "hosted_vllm/sim");
    let imported = Imported::start("litellm", &text, "0.0.0.0:4000").await;
    let (by, answer) = imported.ask("qwen").await;
    assert_eq!(by, imported.nodes.each_ref().map(|node| node.addr().to_string()).into());
    assert!(answer.contains(r#""model":"qwen""#), "{answer}");
}
