//! Leases as the state file has them, so that they outlive the process: each as the node's own words, with its end.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::leases::{Lease, Leases, Registrant};
use crate::config::{Claim, ClaimedAddress, MaxInFlight, Weight, units::show_duration};

/// A lease that ended so long before the start, or its `ttl` before if that is longer, is none any more: its address may be somebody
/// else's by now. Until then it is believed that the node could not say that it is still there.
const STALE_AFTER: Duration = Duration::from_hours(1);

/// A lease of an earlier process.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub pool: String,
    pub node: Registrant,
    /// Seconds since 1970.
    until: u64,
}

impl Kept {
    /// It ended long ago, in seconds since 1970.
    pub fn is_stale(&self, now: u64) -> bool {
        now.saturating_sub(self.until) > STALE_AFTER.max(self.node.ttl).as_secs()
    }
}

/// The text of the state file. `wall`: the time of `now` in seconds since 1970.
pub fn to_text(leases: &Leases, now: Instant, wall: u64) -> String {
    let lines = leases.all().map(|(pool, lease)| line(pool, lease, now, wall).to_string());
    format!("{{\"leases\": [\n{}\n]}}\n", lines.collect::<Vec<_>>().join(",\n"))
}

fn line(pool: &str, lease: &Lease, now: Instant, wall: u64) -> Value {
    let Registrant { name, address, weight, max_in_flight, ttl } = &lease.node;
    let left = lease.until.saturating_duration_since(now).as_secs();
    let mut line = Map::from_iter([
        ("pool".to_owned(), json!(pool)),
        ("name".to_owned(), json!(name)),
        ("address".to_owned(), json!(address.to_string())),
        ("ttl".to_owned(), json!(show_duration(*ttl))),
        (UNTIL.to_owned(), json!(wall.saturating_add(left))),
    ]);
    if let Some(weight) = weight {
        let weight = match weight {
            Weight::Fixed(weight) => json!(weight),
            Weight::Auto => json!("auto"),
        };
        line.insert("weight".to_owned(), weight);
    }
    if let Some(max) = max_in_flight {
        let max = match max {
            MaxInFlight::Off => json!("off"),
            MaxInFlight::Fixed(max) => json!(max),
            MaxInFlight::Auto => json!("auto"),
        };
        line.insert("max_in_flight".to_owned(), max);
    }
    Value::Object(line)
}

const UNTIL: &str = "until";

/// Reads the state file: the leases, and what is wrong with those that cannot be read. The error: it is none.
pub fn of_text(text: &str) -> Result<(Vec<Kept>, Vec<String>), String> {
    let file: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let list = file.get("leases").and_then(Value::as_array).ok_or("it has no list of `leases`")?;
    let (mut kept, mut wrong) = (Vec::new(), Vec::new());
    for (index, one) in list.iter().enumerate() {
        match of_line(one.clone()) {
            Ok(lease) => kept.push(lease),
            Err(why) => wrong.push(format!("leases[{index}]: {why}")),
        }
    }
    Ok((kept, wrong))
}

fn of_line(mut line: Value) -> Result<Kept, String> {
    let fields = line.as_object_mut().ok_or("it is not an object")?;
    let until =
        fields.remove(UNTIL).and_then(|until| until.as_u64()).ok_or("`until` is not a number of seconds")?;
    let claim = Claim::parse(&line.to_string())?;
    match claim {
        Claim {
            pool: Some(pool),
            name: Some(name),
            address: ClaimedAddress::Whole(address),
            weight,
            max_in_flight,
            ttl,
        } => Ok(Kept { pool, node: Registrant { name, address, weight, max_in_flight, ttl }, until }),
        _ => Err("it has no pool, name or address".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn registrant(name: &str, ttl: u64) -> Registrant {
        Registrant {
            name: name.to_owned(),
            address: format!("https://{name}.example:8000").parse().expect("an address"),
            weight: Some(Weight::Fixed(0.1)),
            max_in_flight: Some(MaxInFlight::Fixed(64)),
            ttl: Duration::from_secs(ttl),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let yaml = "server: { listen: 127.0.0.1:1 }\npools: { p: { nodes: [127.0.0.1:2], sources: [{ registration: on }] } }\n";
        let config = Config::parse(yaml, "a test").expect("a valid config");
        let (mut leases, now) = (Leases::default(), Instant::now());
        let plain = Registrant { weight: None, max_in_flight: None, ..registrant("b", 90) };
        let auto = Registrant {
            weight: Some(Weight::Auto),
            max_in_flight: Some(MaxInFlight::Auto),
            ..registrant("c", 1)
        };
        let off = Registrant { max_in_flight: Some(MaxInFlight::Off), ..registrant("d", 86400) };
        let all = [registrant("a", 30), plain, auto, off];
        for node in &all {
            leases.register(&config.pools[0], node.clone(), now).expect("a lease");
        }
        let text = to_text(&leases, now + Duration::from_secs(10), 1_000_000);
        let (kept, wrong) = of_text(&text).expect("a state file");
        assert_eq!(wrong, Vec::<String>::new(), "{text}");
        assert_eq!(kept.iter().map(|kept| kept.node.clone()).collect::<Vec<_>>(), all);
        let ends: Vec<_> = kept.iter().map(|kept| kept.until - 1_000_000).collect();
        assert_eq!(ends, [20, 80, 0, 86390]);
        assert_eq!(of_text(&to_text(&Leases::default(), now, 0)), Ok((vec![], vec![])));
    }

    #[test]
    fn a_lease_is_stale_once_its_node_may_be_another() {
        let kept = |ttl| Kept { pool: "p".to_owned(), node: registrant("a", ttl), until: 1_000_000 };
        for (ttl, now, stale) in [
            (30, 0, false),
            (30, 1_000_000, false),
            (30, 1_003_600, false),
            (30, 1_003_601, true),
            (7200, 1_003_601, false),
            (7200, 1_007_201, true),
            (30, u64::MAX, true),
        ] {
            assert_eq!(kept(ttl).is_stale(now), stale, "{ttl} {now}");
        }
    }

    #[test]
    fn a_broken_file_is_said_and_a_broken_line_costs_that_line() {
        for (text, why) in [
            ("", "not JSON"),
            ("{\"leases\": [", "not JSON"),
            ("[]", "no list of `leases`"),
            ("{\"leases\": 3}", "no list of `leases`"),
        ] {
            assert!(of_text(text).is_err_and(|error| error.contains(why)), "{text}");
        }
        let good = r#"{"pool": "p", "name": "a", "address": "10.0.0.1:80", "ttl": "30s", "until": 5}"#;
        for (line, why) in [
            ("7", "not an object"),
            ("{}", "`until`"),
            (r#"{"until": 5}"#, "address"),
            (r#"{"pool": "p", "name": "a", "port": 80, "until": 5}"#, "no pool, name or address"),
            (r#"{"name": "a", "address": "10.0.0.1:80", "until": 5}"#, "no pool, name or address"),
            (r#"{"pool": "p", "name": "a", "address": "10.0.0.1:80", "until": -5}"#, "`until`"),
            (r#"{"pool": "p", "name": "a", "address": "unix:/a", "until": 5}"#, "unix socket"),
            (r#"{"pool": "p", "name": "a", "address": "10.0.0.1:80", "ttl": "0s", "until": 5}"#, "ttl"),
        ] {
            let (kept, wrong) = of_text(&format!("{{\"leases\": [{line}, {good}]}}")).expect("a file");
            assert_eq!((kept.len(), wrong.len()), (1, 1), "{line}");
            assert!(wrong[0].starts_with("leases[0]: ") && wrong[0].contains(why), "{line}: {}", wrong[0]);
        }
    }
}
