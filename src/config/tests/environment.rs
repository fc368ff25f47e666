//! Variables of the environment in values.

use crate::config::outside::Outside;
use crate::config::{Config, LogTarget, Weight};

fn variables(name: &str) -> Option<String> {
    let value = match name {
        "HOST" => "10.0.0.1",
        "PORT" => "8000",
        "WEIGHT" => "2.5",
        "DRAIN" => "true",
        "EMPTY" => "",
        "SECRET" => "sk 1234567890",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parse(text: &str) -> Result<Config, Vec<String>> {
    let parsed = Config::parse_with(text, "t", &Outside { variable: &variables, ..Outside::NOTHING });
    parsed.map_err(|problems| {
        problems.list.iter().map(|p| format!("{} {}: {}", p.line.unwrap_or(0), p.path, p.message)).collect()
    })
}

#[test]
fn variables_are_replaced_in_values_of_every_kind() {
    let text = r#"
server:
  listen: ${HOST}:${PORT}
  threads: ${THREADS:-3}
  access_log: { path: "/log/$${HOST}/${EMPTY:-a}/${EMPTY}$" }
pools:
  a:
    nodes:
      - { address: "http://${HOST}:${PORT2:-1}/", weight: "${WEIGHT}", drain: "${DRAIN}" }
"#;
    let config = parse(text).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(config.server.listen[0].address.to_string(), "10.0.0.1:8000");
    assert_eq!(config.server.threads, Some(3));
    assert_eq!(config.server.access_log.target, LogTarget::File("/log/${HOST}/a/$".into()));
    let node = &config.pools[0].nodes[0];
    assert_eq!((node.name.as_str(), node.weight, node.drain), ("10.0.0.1:1", Weight::Fixed(2.5), true));
}

#[test]
fn what_cannot_be_replaced_is_a_problem_with_its_place() {
    let text = "server:\n  listen: 127.0.0.1:${NONE}\npools:\n  a:\n    nodes:\n      - ${HOST\n      - ${a b}:1\n      - \"${A:-${B}}:1\"\n";
    assert_eq!(
        parse(text).expect_err("four problems"),
        [
            "2 server.listen: the environment variable NONE is not set; set it, or write a default: ${NONE:-default}",
            "6 pools.a.nodes[0]: `${` has no `}`; write `$${` for the two characters",
            "7 pools.a.nodes[1]: `a b` is not the name of a variable; write ${NAME}, ${NAME:-default}, or `$${` for the two characters",
            "8 pools.a.nodes[2]: a variable within the default of another is not supported",
        ]
    );
}

#[test]
fn a_problem_does_not_show_the_value() {
    for value in [
        "listen: \"${SECRET}\"",
        "listen: \"127.0.0.1:1\", threads: \"${SECRET}\"",
        "listen: \"127.0.0.1:1\", client: \"${SECRET}\"",
        "listen: \"127.0.0.1:1\", access_log: { format: \"x${SECRET}\" }",
    ] {
        let problems = parse(&format!(
            "server: {{ {value} }}\npools: {{ a: {{ nodes: [{{ address: n:1, name: \"${{SECRET}}\" }}] }} }}\n"
        ));
        let problems = problems.expect_err("problems").concat();
        assert!(problems.contains("${SECRET}") && !problems.contains("123"), "{problems}");
    }
}
