use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::Config;

fn pool(keys: &str) -> Pool {
    let text = format!(
        "server: {{ listen: 127.0.0.1:1 }}\npools: {{ p: {{ nodes: [{{ address: 10.0.0.1:80, name: fixed }}], {keys} }} }}\n"
    );
    Config::parse(&text, "a test").expect("a valid config").pools.remove(0)
}

fn node(name: &str, address: &str) -> Registrant {
    let address = address.parse().expect("an address");
    let ttl = Duration::from_secs(30);
    Registrant { name: name.to_owned(), address, weight: None, max_in_flight: None, ttl }
}

fn names(leases: &Leases) -> Vec<&str> {
    leases.of("p").map(|lease| &*lease.node.name).collect()
}

#[test]
fn a_lease_is_renewed_by_the_same_words_and_ends_without_them() {
    let (pool, start) = (pool("sources: [{ registration: on }]"), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut leases = Leases::default();
    let a = node("a", "10.0.0.2:80");
    assert_eq!(leases.register(&pool, a.clone(), at(0)), Ok(Registered::New));
    assert_eq!(leases.register(&pool, a.clone(), at(20)), Ok(Registered::Renewed));
    let shorter = Registrant { ttl: Duration::from_secs(10), ..a.clone() };
    assert_eq!(leases.register(&pool, shorter, at(45)), Ok(Registered::Renewed), "another ttl is no change");
    let heavier = Registrant { weight: Some(Weight::Fixed(2.0)), ..a.clone() };
    assert_eq!(leases.register(&pool, heavier, at(50)), Ok(Registered::Changed));
    assert_eq!(leases.until("p", "a"), Some(at(80)));
    assert_eq!(leases.expire(at(79)), vec![]);
    let ended = leases.expire(at(80));
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].0.as_str(), ended[0].1.node.name.as_str()), ("p", "a"));
    assert_eq!(leases.register(&pool, a, at(90)), Ok(Registered::New), "it may come back");
    assert!(leases.deregister("p", "a").is_some() && leases.deregister("p", "a").is_none());
    assert_eq!(
        leases.counts("p"),
        LeaseCounts { registered: 2, renewed: 3, refused: 0, expired: 1, deregistered: 1 }
    );
}

#[test]
fn one_address_has_one_lease_and_one_name_one_address() {
    let (pool, now) = (pool("sources: [{ registration: on }]"), Instant::now());
    let mut leases = Leases::default();
    leases.register(&pool, node("a", "10.0.0.2:80"), now).expect("a lease");
    let taken =
        Denied::Taken { address: "10.0.0.2:80".parse().expect("an address"), left: Duration::from_secs(20) };
    let later = now + Duration::from_secs(10);
    assert_eq!(leases.register(&pool, node("a", "10.0.0.3:80"), later), Err(taken));
    // a job that starts again has another name, and the port of the one before
    let renamed = Registered::Renamed { from: "a".to_owned() };
    assert_eq!(leases.register(&pool, node("b", "https://10.0.0.2:80"), later), Ok(renamed));
    assert_eq!(names(&leases), ["b"]);
    assert_eq!(leases.register(&pool, node("a", "10.0.0.3:80"), later), Ok(Registered::New));
    assert_eq!(names(&leases), ["a", "b"]);
}

#[test]
fn a_pool_says_whom_it_takes() {
    let now = Instant::now();
    let (off, auto) = (pool(""), pool("balance: random, sources: [{ registration: on }]"));
    let (on, narrow) = (
        pool("sources: [{ registration: { max: 1 } }]"),
        pool("sources: [{ registration: { allow: [10.1.0.0/16, \"fd00::/8\"] } }]"),
    );
    let weight = |weight| Registrant { weight: Some(weight), ..node("a", "10.1.0.2:80") };
    let fixed = || Err(Denied::Fixed { node: "fixed".to_owned() });
    for (pool, node, want) in [
        (&off, node("a", "10.1.0.2:80"), Err(Denied::Off)),
        (&on, node("a", "10.1.0.2:80"), Ok(())),
        (&on, node("a", "10.0.0.1:80"), fixed()),
        (&on, node("a", "https://10.0.0.1:80"), fixed()),
        (&on, node("a", "10.0.0.1:81"), Ok(())),
        (&on, node("fixed", "10.1.0.2:80"), fixed()),
        (&narrow, node("a", "10.1.0.2:80"), Ok(())),
        (&narrow, node("a", "[fd00::1]:80"), Ok(())),
        (&narrow, node("a", "[::ffff:10.1.0.2]:80"), Ok(())),
        (&narrow, node("a", "10.2.0.2:80"), Err(Denied::Elsewhere)),
        (&narrow, node("a", "some.name:80"), Err(Denied::Elsewhere)),
        (&on, node("a", "some.name:80"), Ok(())),
        (&on, weight(Weight::Auto), Ok(())),
        (&auto, weight(Weight::Fixed(2.0)), Ok(())),
        (&auto, weight(Weight::Auto), Err(Denied::NothingToLearn)),
    ] {
        let mut leases = Leases::default();
        let result = leases.register(pool, node.clone(), now).map(drop);
        assert_eq!(result, want, "{node:?}");
        assert_eq!(leases.all().count(), usize::from(want.is_ok()), "a refusal changes nothing");
    }
    let mut leases = Leases::default();
    leases.register(&on, node("a", "10.1.0.2:80"), now).expect("a lease");
    let full = leases.register(&on, node("b", "10.1.0.3:80"), now);
    assert_eq!(full, Err(Denied::Full { max: 1 }));
    assert!(leases.register(&on, node("a", "10.1.0.2:80"), now).is_ok(), "a full pool renews");
    assert!(leases.register(&on, node("b", "10.1.0.2:80"), now).is_ok(), "and renames");
}

#[test]
fn a_new_config_ends_the_leases_that_it_would_not_give() {
    let (wide, now) = (pool("sources: [{ registration: on }]"), Instant::now());
    let all = [node("a", "10.1.0.2:80"), node("b", "10.2.0.2:80"), node("c", "10.1.0.3:80")];
    let book = || {
        let mut leases = Leases::default();
        all.iter().for_each(|node| drop(leases.register(&wide, node.clone(), now)));
        leases
    };
    for (pools, left, why) in [
        (vec![wide.clone()], vec!["a", "b", "c"], vec![]),
        (
            vec![pool("sources: [{ registration: { allow: [10.1.0.0/16] } }]")],
            vec!["a", "c"],
            vec![Denied::Elsewhere],
        ),
        (
            vec![pool("sources: [{ registration: { max: 2 } }]")],
            vec!["a", "b"],
            vec![Denied::Full { max: 2 }],
        ),
        (vec![pool("")], vec![], vec![Denied::Off, Denied::Off, Denied::Off]),
        (vec![], vec![], vec![Denied::Off, Denied::Off, Denied::Off]),
    ] {
        let mut leases = book();
        let ended = leases.follow(&pools);
        assert_eq!(names(&leases), left);
        assert_eq!(ended.into_iter().map(|(_, _, why)| why).collect::<Vec<_>>(), why);
    }
}

#[test]
fn a_restored_lease_has_a_whole_ttl() {
    let (pool, now) = (pool("sources: [{ registration: on }]"), Instant::now());
    let mut leases = Leases::default();
    leases.restore(&pool, node("a", "10.0.0.2:80"), now).expect("a lease");
    assert_eq!(leases.until("p", "a"), Some(now + Duration::from_secs(30)));
    let fixed = leases.restore(&pool, node("b", "10.0.0.1:80"), now);
    assert_eq!(fixed, Err(Denied::Fixed { node: "fixed".to_owned() }), "the config has it by now");
    assert_eq!(leases.counts("p"), LeaseCounts::default(), "nobody has registered");
}

#[derive(Clone, Debug)]
enum Step {
    Register { name: u8, address: u8, ttl: u64, weight: Option<u8> },
    Deregister(u8),
    Pass(u64),
    Follow(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let weight = proptest::option::of(1_u8..4);
    prop_oneof![
        8 => (0_u8..6, 0_u8..6, 1_u64..60, weight)
            .prop_map(|(name, address, ttl, weight)| Step::Register { name, address, ttl, weight }),
        2 => (0_u8..6).prop_map(Step::Deregister),
        4 => (0_u64..40).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Follow),
    ]
}

proptest! {
    /// Whatever happens: names and addresses are distinct, none is the config's, there are no more than may be, each lease ends
    /// at its time and not before, and a registration that was taken is there.
    #[test]
    fn the_book_is_always_in_order(steps in vec(step(), 1..80)) {
        const MAX: usize = 4;
        let (open, closed) = (pool("sources: [{ registration: { max: 4 } }]"), pool(""));
        let (mut leases, mut now) = (Leases::default(), Instant::now());
        // by name: the address, and the end
        let mut model: BTreeMap<String, (u8, Instant)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Register { name, address, ttl, weight } => {
                    let (name, port) = (format!("n{name}"), 80 + address);
                    let wish = Registrant {
                        ttl: Duration::from_secs(ttl),
                        weight: weight.map(|weight| Weight::Fixed(weight.into())),
                        ..node(&name, &format!("10.0.0.1:{port}"))
                    };
                    match leases.register(&open, wish, now) {
                        Ok(result) => {
                            let before = model.iter().find(|(_, (other, _))| *other == address);
                            let before = before.map(|(name, _)| name.clone());
                            let want_new = before.is_none() && !model.contains_key(&name);
                            prop_assert_eq!(result == Registered::New, want_new);
                            if let Some(name) = before {
                                model.remove(&name);
                            }
                            model.insert(name, (address, now + Duration::from_secs(ttl)));
                        }
                        Err(Denied::Fixed { .. }) => prop_assert_eq!(address, 0),
                        Err(Denied::Taken { .. }) => {
                            prop_assert!(model.get(&name).is_some_and(|(other, _)| *other != address));
                        }
                        Err(Denied::Full { .. }) => prop_assert_eq!(model.len(), MAX),
                        Err(other) => prop_assert!(false, "{:?}", other),
                    }
                }
                Step::Deregister(name) => {
                    let name = format!("n{name}");
                    prop_assert_eq!(leases.deregister("p", &name).is_some(), model.remove(&name).is_some());
                }
                Step::Pass(seconds) => {
                    now += Duration::from_secs(seconds);
                    let ended = leases.expire(now).len();
                    let before = model.len();
                    model.retain(|_, (_, until)| *until > now);
                    prop_assert_eq!(ended, before - model.len());
                }
                Step::Follow(is_open) => {
                    leases.follow(std::slice::from_ref(if is_open { &open } else { &closed }));
                    if !is_open {
                        model.clear();
                    }
                }
            }
            let found: Vec<_> = leases.of("p").map(|lease| (lease.node.name.clone(), lease.until)).collect();
            let wanted: Vec<_> = model.iter().map(|(name, (_, until))| (name.clone(), *until)).collect();
            prop_assert_eq!(found, wanted);
            prop_assert!(leases.all().count() <= MAX);
        }
    }
}
