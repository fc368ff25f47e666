//! The table of a client's HTTP/1 connection: the framing of an answer, and whether the connection goes on after it.

use crate::harness::{Ended, Gateway, Raw, Script, run};

/// A client's words on its connection: its version, and a field.
const CLIENTS: [(&str, &str); 4] = [
    ("HTTP/1.0", ""),
    ("HTTP/1.0", "Connection: keep-alive\r\n"),
    ("HTTP/1.1", ""),
    ("HTTP/1.1", "Connection: close\r\n"),
];

#[derive(Clone, Copy)]
enum Node {
    Says(&'static str),
    /// It closes the connection without a word.
    Closes,
    NotAsked,
}

// its own connection ends each time, so that the next request comes on a new one
const LENGTH: Node = Node::Says("200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody");
const CHUNKED: Node = Node::Says(
    "200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
);
const UNTIL_CLOSE: Node = Node::Says("200 OK\r\nConnection: close\r\n\r\nbody");
const HEAD_LENGTH: Node = Node::Says("200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n");
const HEAD_CHUNKED: Node = Node::Says("200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
const NO_CONTENT: Node = Node::Says("204 No Content\r\nConnection: close\r\n\r\n");
const NOT_MODIFIED: Node = Node::Says("304 Not Modified\r\nConnection: close\r\nETag: \"x\"\r\n\r\n");

const KNOWN: &str = r#"{"model":"m"}"#;
const UNKNOWN: &str = r#"{"model":"n"}"#;
/// Above the `client.max_body` of the test.
const LARGE: &str = r#"{"model":"m","prompt":"Tell me of the sea"}"#;

/// The request's method and body, the node's part, and what each of the clients sees.
type Row = (&'static str, &'static str, Node, [&'static str; 4]);

const TABLE: [Row; 12] = [
    (
        "POST",
        KNOWN,
        LENGTH,
        ["200 length close", "200 length keep-alive", "200 length keep-alive", "200 length close"],
    ),
    (
        "POST",
        KNOWN,
        CHUNKED,
        ["200 close, then body", "200 close, then body", "200 chunked keep-alive", "200 chunked close"],
    ),
    (
        "POST",
        KNOWN,
        UNTIL_CLOSE,
        ["200 close, then body", "200 close, then body", "200 chunked keep-alive", "200 chunked close"],
    ),
    ("POST", KNOWN, NO_CONTENT, ["204 close", "204 keep-alive", "204 keep-alive", "204 close"]),
    ("POST", KNOWN, NOT_MODIFIED, ["304 close", "304 keep-alive", "304 keep-alive", "304 close"]),
    (
        "HEAD",
        KNOWN,
        HEAD_LENGTH,
        ["200 length close", "200 length keep-alive", "200 length keep-alive", "200 length close"],
    ),
    (
        "HEAD",
        KNOWN,
        HEAD_CHUNKED,
        ["200 close", "200 keep-alive", "200 chunked keep-alive", "200 chunked close"],
    ),
    ("POST", KNOWN, Node::Closes, ["502 length close"; 4]),
    ("HEAD", KNOWN, Node::Closes, ["502 length close"; 4]),
    ("POST", UNKNOWN, Node::NotAsked, ["404 length close"; 4]),
    ("HEAD", UNKNOWN, Node::NotAsked, ["404 length close"; 4]),
    ("POST", LARGE, Node::NotAsked, ["413 length close"; 4]),
];

async fn gateway(script: &Script) -> Gateway {
    let pool = script.pool("models: [m], retry: { attempts: 1 }, health: { max_fails: 0 }");
    Gateway::with("client: { max_body: 32B }", &pool).await
}

fn request(method: &str, (version, field): (&str, &str), body: &str) -> String {
    let length = body.len();
    format!("{method} /v1/completions {version}\r\nHost: x\r\n{field}Content-Length: {length}\r\n\r\n{body}")
}

async fn answer(script: &Script, node: Node) {
    if let Node::NotAsked = node {
        return;
    }
    let mut connection = script.accept().await;
    connection.read_to(KNOWN).await;
    if let Node::Says(words) = node {
        connection.write(format!("HTTP/1.1 {words}")).await;
    }
}

/// An answer in words: its status line, its framing, and what it says of the connection.
async fn read_answer(client: &mut Raw, method: &str) -> String {
    let head = client.read_to("\r\n\r\n").await.to_ascii_lowercase();
    let field = |name| head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| *n == name);
    let [length, coding, connection] = ["content-length", "transfer-encoding", "connection"].map(field);
    let status = head.strip_prefix("http/1.1 ").unwrap().split(' ').next().unwrap();
    let has_body = method != "HEAD" && !["204", "304"].contains(&status);
    match (length, coding) {
        (Some((_, length)), None) if has_body => drop(client.read(length.parse().unwrap()).await),
        (None, Some(_)) if has_body => drop(client.read_to("\r\n0\r\n\r\n").await),
        _ => {}
    }
    let said =
        [length.map(|_| "length"), coding.map(|(_, coding)| coding), connection.map(|(_, value)| value)];
    format!("{status} {}", said.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

async fn seen(gateway: &Gateway, script: &Script, row: Row, client: usize) -> String {
    let (method, body, node, _) = row;
    let mut raw = Raw::send(gateway, request(method, CLIENTS[client], body)).await;
    answer(script, node).await;
    let words = read_answer(&mut raw, method).await;
    if words.ends_with("keep-alive") {
        raw.write(request("POST", CLIENTS[2], KNOWN)).await;
        answer(script, LENGTH).await;
        assert_eq!(read_answer(&mut raw, "POST").await, "200 length keep-alive");
        return words;
    }
    let (rest, ended) = raw.rest_as_text().await;
    assert_eq!(ended, Ended::Fin, "{words}");
    if rest.is_empty() { words } else { format!("{words}, then {rest}") }
}

#[test]
fn an_answer_says_how_it_ends_and_the_connection_does_so() {
    run(async {
        let script = Script::listen().await;
        let gateway = gateway(&script).await;
        for (number, row) in TABLE.into_iter().enumerate() {
            for (client, want) in row.3.into_iter().enumerate() {
                let got = seen(&gateway, &script, row, client).await;
                assert_eq!(got, want, "row {number}: {} from {:?}", row.0, CLIENTS[client]);
            }
        }
    });
}

/// The first of them says whether there is a second.
#[test]
fn two_requests_in_one_packet_have_two_answers_unless_the_first_ends_the_connection() {
    run(async {
        let script = Script::listen().await;
        let gateway = gateway(&script).await;
        let [plain_1_0, kept_1_0, kept_1_1, closed_1_1] = CLIENTS;
        for (client, node, answers) in [
            (plain_1_0, LENGTH, 1),
            (kept_1_0, LENGTH, 2),
            (kept_1_0, CHUNKED, 1),
            (kept_1_1, LENGTH, 2),
            (kept_1_1, CHUNKED, 2),
            (closed_1_1, LENGTH, 1),
            (kept_1_1, Node::Closes, 1),
        ] {
            let both = [request("POST", client, KNOWN), request("POST", closed_1_1, KNOWN)].concat();
            let raw = Raw::send(&gateway, both).await;
            answer(&script, node).await;
            if answers == 2 {
                answer(&script, LENGTH).await;
            }
            let (text, ended) = raw.rest_as_text().await;
            assert_eq!(
                (text.matches("HTTP/1.1 ").count(), ended),
                (answers, Ended::Fin),
                "{client:?}: {text}"
            );
        }
    });
}

#[test]
fn a_request_that_comes_while_an_answer_streams_is_next() {
    run(async {
        let script = Script::listen().await;
        let gateway = gateway(&script).await;
        for client in [CLIENTS[1], CLIENTS[2]] {
            let is_coded = client == CLIENTS[2];
            let mut raw = Raw::send(&gateway, request("POST", client, KNOWN)).await;
            let mut node = script.accept().await;
            node.read_to(KNOWN).await;
            let framing = if is_coded { "Transfer-Encoding: chunked" } else { "Content-Length: 4" };
            node.write(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{framing}\r\n\r\n")).await;
            let [first, last] = if is_coded { ["2\r\nbo\r\n", "2\r\ndy\r\n0\r\n\r\n"] } else { ["bo", "dy"] };
            node.write(first).await;
            if is_coded {
                raw.read_to(first).await;
            }
            raw.write(request("POST", CLIENTS[3], KNOWN)).await;
            node.write(last).await;
            raw.read_to(last).await;
            answer(&script, LENGTH).await;
            assert_eq!(read_answer(&mut raw, "POST").await, "200 length close");
            assert_eq!(raw.rest().await, (Vec::new(), Ended::Fin));
        }
    });
}

#[test]
fn who_waits_for_100_continue_gets_it_if_its_body_is_wanted() {
    run(async {
        let script = Script::listen().await;
        let gateway = gateway(&script).await;
        let expecting = |body: &str| {
            let whole = request("POST", ("HTTP/1.1", "Expect: 100-continue\r\n"), body);
            whole.strip_suffix(body).unwrap().to_owned()
        };
        let mut raw = Raw::send(&gateway, expecting(KNOWN)).await;
        for node in [CHUNKED, LENGTH] {
            assert_eq!(read_answer(&mut raw, "HEAD").await, "100 ");
            raw.write(KNOWN).await;
            answer(&script, node).await;
            assert!(read_answer(&mut raw, "POST").await.ends_with(" keep-alive"));
            raw.write(expecting(KNOWN)).await;
        }
        let raw = Raw::send(&gateway, expecting(LARGE)).await;
        assert!(raw.rest_as_text().await.0.starts_with("HTTP/1.1 413 "));
    });
}
