//! A known load whose numbers agree, to the last request: what clients saw, the log, `/metrics` and the status.

use std::collections::BTreeMap;

use evenkeel::sim::Options;
use http::Request;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    Answer, Client, Gateway, LIMIT, Outgoing, eventually, fault, nodes_like, pool, post, run, steps, within,
};

type Counts = BTreeMap<String, u64>;

const LOG: &str = "access_log: { path: access.log, format: json }, metrics: { genai: on }";
const POOL: &str =
    "engine: vllm, models: [m], health: { max_fails: 0, check: off }, retry: { resume: on, attempts: 4 }";
const TOKENS: u32 = 20;
const REQUESTS: usize = 48;

fn request(gateway: &Gateway, number: usize) -> Request<Outgoing> {
    let mut body = json!({
        "model": "m", "max_tokens": TOKENS, "messages": [{"role": "user", "content": "Tell me of the sea"}],
    });
    if number.is_multiple_of(2) {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    if number.is_multiple_of(24) {
        body["model"] = json!("unknown");
    }
    let mut request = post(gateway, "/v1/chat/completions", body.to_string());
    if number.is_multiple_of(3) {
        request.headers_mut().insert("x-priority", "batch".parse().unwrap());
    }
    request
}

/// Prompt and answer, as the client was told.
fn usage(answer: &Answer) -> Option<[u64; 2]> {
    let text = answer.text();
    let of = |value: &Value| {
        let of = |name: &str| value["usage"][name].as_u64();
        Some([of("prompt_tokens")?, of("completion_tokens")?])
    };
    let events = text.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    events.filter_map(|event| of(&serde_json::from_str(event).ok()?)).next_back()
}

/// Sums of a family by one of its labels.
fn sums(metrics: &str, family: &str, label: &str) -> Counts {
    let mut sums = Counts::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix(family).and_then(|rest| rest.strip_prefix('{')) else { continue };
        let (labels, value) = rest.rsplit_once("} ").unwrap();
        let is_it = |pair: &&str| pair.starts_with(&format!("{label}=\""));
        let name = labels.split(',').find(is_it).map_or("", |pair| pair.split('"').nth(1).unwrap());
        *sums.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap() as u64;
    }
    sums.retain(|_, sum| *sum > 0);
    sums
}

fn counted(values: impl Iterator<Item = String>) -> Counts {
    let mut counts = Counts::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    counts
}

fn total(counts: &Counts) -> u64 {
    counts.values().sum()
}

/// The same run, told four times.
struct Told {
    answers: Vec<Answer>,
    metrics: String,
    status: Value,
    lines: Vec<Value>,
}

impl Told {
    async fn of(gateway: &Gateway) -> Told {
        let mut clients = JoinSet::new();
        for number in 0..REQUESTS {
            let (mut client, request) = (Client::h1(gateway).await, request(gateway, number));
            clients.spawn(async move { client.ask(request).await });
        }
        let answers = within(LIMIT, "all have an answer", clients.join_all()).await;
        let has_all = || gateway.log_lines("access.log").len() == REQUESTS;
        eventually(LIMIT, "each has its line", has_all).await;
        gateway.at_rest().await;
        let lines = gateway.log_lines("access.log");
        Told {
            answers,
            metrics: gateway.metrics(),
            status: serde_json::from_str(&gateway.status().to_json()).unwrap(),
            lines: lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect(),
        }
    }

    fn sums(&self, family: &str, label: &str) -> Counts {
        sums(&self.metrics, family, label)
    }

    fn attempts(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().flat_map(|line| line["attempts"].as_array().unwrap())
    }

    fn requests_agree(&self) {
        let codes = counted(self.answers.iter().map(|answer| answer.status.to_string()));
        assert_eq!(codes, Counts::from([("200".to_owned(), 46), ("404".to_owned(), 2)]), "of clients");
        assert_eq!(counted(self.lines.iter().map(|line| line["status"].to_string())), codes, "of the log");
        assert_eq!(self.sums("evenkeel_requests_total", "code"), codes, "of the metrics");
        assert_eq!(self.status["pools"][0]["requests_by_code"], json!({ "200": 46 }));
        assert_eq!(self.status["refused_by_code"], json!({ "404": 2 }));
    }

    fn timings_agree(&self) {
        let count = |family: &str| self.sums(&format!("evenkeel_{family}_seconds_count"), "class");
        let classes = counted(self.lines.iter().filter_map(|line| Some(line["class"].as_str()?.to_owned())));
        for family in ["request_duration", "queue_wait"] {
            assert_eq!(count(family), classes, "{family}");
        }
        let streams = (0..REQUESTS).filter(|number| number % 2 == 0 && number % 24 != 0).count() as u64;
        assert_eq!(total(&count("time_to_first_token")), streams);
        // one that has come in a single piece has no time between its tokens
        assert!((1..=streams).contains(&total(&count("inter_token"))));
    }

    fn attempts_agree(&self) {
        for label in ["node", "outcome"] {
            let of_log = counted(self.attempts().map(|attempt| attempt[label].as_str().unwrap().to_owned()));
            assert_eq!(self.sums("evenkeel_attempts_total", label), of_log, "attempts by {label}");
        }
        for node in self.status["pools"][0]["nodes"].as_array().unwrap() {
            let ended = self.attempts().filter(|attempt| attempt["node"] == node["name"]);
            let outcomes = counted(ended.map(|attempt| attempt["outcome"].as_str().unwrap().to_owned()));
            let mut shown: Counts = serde_json::from_value(node["attempts"].clone()).unwrap();
            shown.retain(|_, count| *count > 0);
            assert_eq!(shown, outcomes, "{}", node["name"]);
            for speed in [&node["ttft"]["p50"], &node["ttft"]["p99"], &node["tokens_per_second"]] {
                assert!(speed.as_f64().is_some_and(|speed| speed > 0.0), "{node}");
            }
        }
        // behind a stale connection comes the same node, which nobody chose anew
        let chosen = self.attempts().filter(|attempt| attempt["outcome"] != "stale").count();
        assert_eq!(total(&self.sums("evenkeel_choices_total", "by")), chosen as u64);
        let resumes = self.sums("evenkeel_resumes_total", "result").remove("asked").unwrap_or(0);
        let retries = total(&self.sums("evenkeel_retries_total", "reason"));
        let more = |line: &Value| line["attempts"].as_array().unwrap().len().saturating_sub(1) as u64;
        let more: u64 = self.lines.iter().map(more).sum();
        assert_eq!((retries + resumes, resumes > 0, retries > 0), (more, true, true));
    }

    fn tokens_agree(&self) {
        let told: Vec<_> = self.answers.iter().filter_map(usage).collect();
        assert_eq!(told.len(), 46, "each answer has its usage");
        let [prompt, answer] = [0, 1].map(|at: usize| told.iter().map(|usage| usage[at]).sum::<u64>());
        assert_eq!(answer, 46 * u64::from(TOKENS));
        let [prompt_tokens, answer_tokens] = ["prompt", "answer"].map(str::to_owned);
        let tokens = Counts::from([(prompt_tokens, prompt), (answer_tokens, answer)]);
        assert_eq!(self.sums("evenkeel_tokens_total", "kind"), tokens);
        let [input, output] = ["input", "output"].map(str::to_owned);
        let tokens = Counts::from([(input, prompt), (output, answer)]);
        assert_eq!(self.sums("gen_ai_client_token_usage_sum", "gen_ai_token_type"), tokens);
        let calls = self.sums("gen_ai_client_operation_duration_seconds_count", "gen_ai_request_model");
        assert_eq!(calls, Counts::from([("m".to_owned(), 46)]));
    }
}

#[test]
fn a_known_load_is_counted_alike_everywhere() {
    run(async {
        let nodes = nodes_like(3, &Options { step: steps(5), ..Options::default() });
        // one node is well, so that no request can meet a fault everywhere; of a dozen deaths some are streams'
        nodes[0].set_fault(fault("status:500,times=3"));
        nodes[0].add_fault(fault("reset,times=2"));
        nodes[1].set_fault(fault("die:5,times=12"));
        let gateway = Gateway::with(LOG, &pool("p", &nodes, POOL)).await;
        let told = Told::of(&gateway).await;
        told.requests_agree();
        told.timings_agree();
        told.attempts_agree();
        told.tokens_agree();
    });
}

fn message(gateway: &Gateway) -> Request<Outgoing> {
    let body = json!({
        "model": "m", "max_tokens": TOKENS, "stream": true, "messages": [{"role": "user", "content": "Tell me of the sea"}],
    });
    post(gateway, "/v1/messages", body.to_string())
}

#[test]
fn the_tokens_of_messages_are_counted_as_they_come() {
    const SAID: u64 = 7;
    run(async {
        let nodes = nodes_like(1, &Options { step: steps(5), ..Options::default() });
        let gateway = Gateway::with(LOG, &pool("p", &nodes, POOL)).await;
        let answer = Client::h1(&gateway).await.ask(message(&gateway)).await;
        assert_eq!(answer.status, 200);
        let answers =
            |metrics: &str| sums(metrics, "evenkeel_tokens_total", "kind").remove("answer").unwrap_or(0);
        let spaced = |metrics: &str| total(&sums(metrics, "evenkeel_inter_token_seconds_count", "class"));
        eventually(LIMIT, "it has ended", || answers(&gateway.metrics()) > 0).await;
        assert_eq!(answers(&gateway.metrics()), u64::from(TOKENS), "as it tells at its end");
        let before = gateway.node("a").answer_tokens;
        nodes[0].set_fault(fault(&format!("stall:{SAID}")));
        let (mut client, request) = (Client::h1(&gateway).await, message(&gateway));
        let asking = tokio::spawn(async move { client.try_ask(request).await.ok() });
        // behind the events that begin the message and its block
        let has_said = || gateway.node("a").answer_tokens >= before + 2 + SAID;
        eventually(LIMIT, "its node is known to work", has_said).await;
        let spaced_before = spaced(&gateway.metrics());
        asking.abort();
        let has_counted = || answers(&gateway.metrics()) >= u64::from(TOKENS) + SAID;
        eventually(LIMIT, "its client has left", has_counted).await;
        assert_eq!(spaced(&gateway.metrics()), spaced_before + 1);
    });
}
