//! Pools whose nodes register themselves, and what those say.

use std::time::Duration;

use super::{SERVER, parse};
use crate::config::{
    Claim, ClaimedAddress, Config, MaxInFlight, NodeAddress, Registration, Role, Source, Weight,
};

fn source(text: &str) -> Result<Registration, String> {
    let text = format!("{SERVER}pools: {{ a: {{ sources: [{{ {text} }}] }} }}");
    let config = Config::parse(&text, "t").map_err(|problems| problems.to_string())?;
    match &config.pools[0].sources[..] {
        [Source::Registered(registration)] => Ok(registration.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pool_takes_nodes_that_register_themselves() {
    let any = Registration { allow: vec![], max: 256 };
    assert_eq!(source("registration: on").as_ref(), Ok(&any));
    assert_eq!(source("registration: {}"), Ok(any));
    let limits = Registration { allow: vec!["10.0.0.0/8".parse().expect("a network")], max: 8 };
    assert_eq!(source("registration: { allow: [10.1.2.3/8], max: 8 }"), Ok(limits));
    for (text, why) in [
        ("registration: off", "sources[0].registration: is off; leave the entry out"),
        ("registration: 3", "3 is not a switch"),
        ("registration: on, file: a.yaml", "sources[0]: names several places"),
        ("registration: { allow: [] }", "has no entries; at least 1 is needed"),
        ("registration: { allow: [x] }", "`x` is not a network"),
        ("registration: { max: 4097 }", "from 1 to 4096"),
        ("registration: { ttl: 3s }", "sources[0].registration.ttl: unknown key"),
        ("registration: on }, { registration: on", "registered is already sources[0]"),
    ] {
        let problems = source(text).expect_err(text);
        assert!(problems.contains(why), "{text}: {problems}");
    }
    assert!(parse(&format!("{SERVER}pools: {{ a: {{ nodes: [n:80] }} }}")).pools[0].registration().is_none());
}

#[test]
fn its_leases_are_kept_in_a_folder() {
    let state = |text: &str| {
        let text = format!("server: {{ listen: 127.0.0.1:1{text} }}\npools: {{ a: {{ nodes: [n:80] }} }}\n");
        parse(&text).server.state.map(|state| state.display().to_string())
    };
    assert_eq!(state("").as_deref(), Some("/var/lib/evenkeel"));
    assert_eq!(state(", state: kept").as_deref(), Some("kept"));
    assert_eq!(state(", state: off"), None);
    let role = "server: { listen: 127.0.0.1:1, admin: { tokens: [{ role: register, file: t }] } }\npools: { a: { nodes: [n:80] } }\n";
    assert_eq!(parse(role).server.admin.tokens[0].role, Role::Register);
}

#[test]
fn a_node_says_little_of_itself() {
    let address = "https://a.example:443".parse::<NodeAddress>().expect("an address");
    let short = Claim {
        pool: None,
        address: ClaimedAddress::Port(8000),
        name: None,
        weight: None,
        max_in_flight: None,
        ttl: Duration::from_secs(30),
    };
    let long = Claim {
        pool: Some("p".to_owned()),
        address: ClaimedAddress::Whole(address),
        name: Some("gpu-3".to_owned()),
        weight: Some(Weight::Fixed(0.5)),
        max_in_flight: Some(MaxInFlight::Fixed(64)),
        ttl: Duration::from_secs(90),
    };
    let text = r#"{"pool": "p", "address": "https://A.example/", "name": "gpu-3", "weight": 0.5, "max_in_flight": 64, "ttl": "1m30s"}"#;
    assert_eq!(Claim::parse(r#" {"port": 8000} "#), Ok(short.clone()));
    assert_eq!(Claim::parse(text), Ok(long));
    let auto = Claim { weight: Some(Weight::Auto), max_in_flight: Some(MaxInFlight::Auto), ..short };
    let text = r#"{"port": 8000, "weight": "auto", "max_in_flight": "auto", "ttl": 30}"#;
    assert_eq!(Claim::parse(text), Ok(auto));
}

#[test]
fn all_that_is_wrong_with_it_is_said_at_once() {
    for (text, wants) in [
        (r#"{"port": 1, "port": 2}"#, &["port: appears twice"][..]),
        (r#"{"port": 1} {}"#, &["the body is not JSON", "something like {\"address\""]),
        (r#"{"port": null}"#, &["port: has no value"]),
        (
            r#"{"port": 70000, "ttl": "0s", "weight": "heavy"}"#,
            &["port: 70000", "ttl: `0s`", "weight: `heavy`"],
        ),
        (r#"{"address": "a:b@c:1"}"#, &["address: `a:b@c:1` is not the address of a node"]),
        (r#"{"port": 1, "max_in_fligth": 1}"#, &["did you mean `max_in_flight`"]),
    ] {
        let problems = Claim::parse(text).expect_err(text);
        assert!(wants.iter().all(|want| problems.contains(want)), "{text}: {problems}");
        assert!(!problems.contains('\n'), "{text}: {problems}");
    }
}

mod hostile {
    use proptest::prelude::*;

    use crate::config::Claim;

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,200}") {
            let _ = Claim::parse(&text);
        }

        #[test]
        fn no_value_is_too_odd(key in "(pool|address|port|name|weight|max_in_flight|ttl)", value in "[\\[\\]{}\":,a-z0-9. -]{0,40}") {
            let _ = Claim::parse(&format!("{{\"{key}\": {value}}}"));
        }
    }
}
