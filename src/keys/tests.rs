use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::classify::dialect::Shape;
use crate::config::{ApiKey, Class, expiry};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// The key of this name is `token-NAME`.
fn key(name: &str, more: &str) -> ApiKey {
    let hash = hash(format!("token-{name}").as_bytes()).expect("short");
    let text = format!("keys: [{{ name: {name}, hash: \"{hash}\", {more} }}]");
    ApiKey::parse(&text, "t").unwrap_or_else(|problems| panic!("{problems}")).remove(0)
}

fn ring(keys: &[(&str, &str)], now: Instant) -> Keyring {
    Keyring::default().next(keys.iter().map(|(name, more)| key(name, more)).collect(), now)
}

fn account(more: &str, now: Instant) -> Arc<Account> {
    Arc::new(Account::new(&key("a", more), now))
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
        .collect()
}

#[test]
fn the_first_field_that_holds_a_key() {
    for (fields, want) in [
        (&[][..], None),
        (&[("authorization", "Bearer a")], Some("a")),
        (&[("authorization", "bEARER  a ")], Some("a")),
        (&[("authorization", "Basic a"), ("api-key", "c")], Some("c")),
        (&[("authorization", "Bearer")], None),
        (&[("authorization", "Bearer "), ("x-api-key", "")], None),
        (&[("api-key", "c"), ("x-api-key", " b ")], Some("b")),
        (&[("authorization", "Bearer a"), ("x-api-key", "b"), ("api-key", "c")], Some("a")),
    ] {
        let headers = headers(fields);
        assert_eq!(presented(&headers), want.map(str::as_bytes), "{fields:?}");
    }
    for name in ["Authorization", "X-API-KEY", "Api-Key"] {
        assert!(is_field(name.as_bytes()), "{name}");
    }
    for name in ["", "Authorizatiom", "x-api-kez", "api-kex", "proxy-authorization"] {
        assert!(!is_field(name.as_bytes()), "{name}");
    }
}

#[test]
fn tokens_and_hashes() {
    let token = token([255; 32]);
    assert_eq!(token, format!("ek-{}8", "_".repeat(42)));
    let hashed = hash(b"abc").expect("short").to_string();
    let want = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hashed, want, "FIPS 180-2, B.1");
    assert_eq!(hash(&[b'a'; 513]), None);
    assert_eq!((flow("a"), flow("b")), (flow("a"), flow("b")));
    assert_ne!(flow("a"), flow("b"));
}

#[test]
fn whose_a_request_is() {
    let now = Instant::now();
    let ring = ring(&[("a", ""), ("b", "expires: 2027-01-01"), ("c", "max_in_flight: 1")], now);
    let new_year = expiry("2027-01-01").expect("a date");
    let of =
        |token: &str, wall: SystemTime| Bearer::of(&ring, &headers(&[("x-api-key", token)]), now, || wall);
    let why = |result: Result<Bearer, Denied>| {
        let denied = result.expect_err("a denial");
        (denied.why, denied.bearer.map(|bearer| bearer.key().name().to_string()))
    };
    assert_eq!(why(Bearer::of(&ring, &HeaderMap::new(), now, || new_year)), (Denial::NoKey, None));
    assert_eq!(why(of("token-d", new_year)), (Denial::Unknown, None));
    assert_eq!(why(of("token-b", new_year)), (Denial::Expired, Some("b".into())));
    let b = of("token-b", new_year - Duration::from_nanos(1)).expect("not yet");
    assert_eq!(&**b.key().name(), "b");
    let first = of("token-c", new_year).expect("the first");
    assert!(matches!(
        why(of("token-c", new_year)),
        (Denial::Limited { limit: Limit::InFlight, .. }, Some(_))
    ));
    drop(first);
    assert!(of("token-c", new_year).is_ok());
}

#[test]
fn models_and_classes() {
    let now = Instant::now();
    let ring = ring(&[("a", "models: [m, 'Qwen/*'], class: normal"), ("b", "")], now);
    let (a, b) = (ring.find(b"token-a").expect("a"), ring.find(b"token-b").expect("b"));
    for (model, may) in [("m", true), ("M", false), ("Qwen/x", true), ("qwen/x", false), ("", false)] {
        assert_eq!((a.may_use(model), b.may_use(model)), (may, true), "{model}");
    }
    assert!(!a.is_for_all_models() && b.is_for_all_models());
    use Class::{Batch, Interactive, Normal};
    for (usual, said, of_a) in [
        (Normal, None, Normal),
        (Batch, None, Normal),
        (Interactive, Some(Interactive), Normal),
        (Normal, Some(Normal), Normal),
        (Batch, Some(Batch), Batch),
    ] {
        assert_eq!((a.class(usual, said), b.class(usual, said)), (of_a, usual), "{usual:?} {said:?}");
    }
}

#[test]
fn requests_a_minute() {
    let now = Instant::now();
    let account = account("requests_per_minute: 3", now);
    let at = |seconds: f64| now + Duration::from_secs_f64(seconds);
    let passes = |now| account.admit(now).is_ok();
    assert_eq!([0.0; 4].map(|time| passes(at(time))), [true, true, true, false]);
    let Err(Limited { limit, wait, standing }) = account.admit(at(1.0)) else { panic!("a limit") };
    assert_eq!((limit, wait), (Limit::Requests, 19 * SECOND));
    assert_eq!(standing.requests, Some(Quota { limit: 3, remaining: 0, reset: 59 * SECOND }));
    assert_eq!([19.999, 20.0, 20.0, 40.0].map(|time| passes(at(time))), [false, true, false, true]);
    // a clock that another thread has read before
    assert!(!passes(at(10.0)));
    assert_eq!([3600.0; 4].map(|time| passes(at(time))), [true, true, true, false]);
    assert_eq!(account.used().1.limited, [6, 0, 0]);
}

#[test]
fn tokens_make_a_debt_that_is_filled_up_first() {
    let now = Instant::now();
    let account = account("tokens_per_minute: 60", now);
    let slot = account.admit(now).expect("a full bucket");
    account.ended(200, [100, 50], now);
    drop(slot);
    let Err(Limited { limit, wait, standing }) = account.admit(now) else { panic!("a debt") };
    assert_eq!((limit, wait), (Limit::Tokens, 91 * SECOND), "until one is there");
    assert_eq!(standing.tokens, Some(Quota { limit: 60, remaining: 0, reset: 150 * SECOND }));
    assert!(account.admit(now + 91 * SECOND - Duration::from_nanos(1)).is_err());
    assert!(account.admit(now + 91 * SECOND).is_ok());
    assert_eq!(account.used().1.tokens, [100, 50]);
    account.ended(200, [u64::MAX, u64::MAX], now + 91 * SECOND);
    assert!(account.admit(now + 100 * MINUTE).is_err(), "whatever a node says it was");
}

#[test]
fn in_flight_is_given_back_on_any_way() {
    let now = Instant::now();
    let account = account("max_in_flight: 2, requests_per_minute: 5", now);
    let (first, _second) = (account.admit(now), account.admit(now));
    let Err(Limited { limit, wait, standing }) = account.admit(now) else { panic!("a limit") };
    assert_eq!((limit, wait, account.used().0), (Limit::InFlight, SECOND, 2));
    assert_eq!(standing.requests.map(|quota| quota.remaining), Some(3), "a refused one does not count");
    let panicked = std::thread::spawn(move || {
        let _held = first;
        panic!("in the middle of a request");
    });
    assert!(panicked.join().is_err());
    assert!(account.admit(now).is_ok());
}

#[test]
fn keys_that_stay_keep_what_they_have_used() {
    let now = Instant::now();
    let first = ring(&[("a", "requests_per_minute: 10"), ("b", "requests_per_minute: 10")], now);
    let admit = |ring: &Keyring, name: &str| {
        let key = ring.find(format!("token-{name}").as_bytes()).expect("a key");
        key.account.admit(now).map(|(_, standing)| standing.requests.map(|quota| quota.remaining))
    };
    (0..4).for_each(|_| assert!(admit(&first, "a").is_ok()));
    let next = |more: &str| first.next(vec![key("a", more)], now);
    let fewer = next("requests_per_minute: 5");
    assert_eq!(admit(&fewer, "a").expect("the fifth"), Some(0));
    assert!(
        admit(&fewer, "a").is_err() && admit(&first, "a").is_err(),
        "an open request's ring has the same account"
    );
    assert!(fewer.find(b"token-b").is_none(), "revoked");
    assert_eq!(admit(&next("requests_per_minute: 100"), "a").expect("passes"), Some(94));
    assert_eq!(admit(&next(""), "a").expect("passes"), None);
    assert_eq!(admit(&next("requests_per_minute: 2"), "a").expect("anew"), Some(1));
    assert!(first.is_of(&[key("a", "requests_per_minute: 10"), key("b", "requests_per_minute: 10")]));
    assert!(!first.is_of(&[key("a", "requests_per_minute: 10")]));
}

#[test]
fn views_get_so_many_names_and_the_sum_of_the_others() {
    let now = Instant::now();
    let ring = ring(&[("a", ""), ("b", ""), ("c", "")], now);
    let _slots: Vec<_> = ["a", "b", "c", "c"]
        .map(|name| {
            let key = ring.find(format!("token-{name}").as_bytes()).expect("a key");
            key.account.ended(404, [1, 2], now);
            key.account.admit(now)
        })
        .into();
    let shown = |most| {
        let of =
            |usage: Usage| (usage.name.to_string(), usage.in_flight, usage.used.requests, usage.used.tokens);
        ring.usage(most).into_iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(
        shown(1),
        [("a".into(), 1, [0, 0, 0, 1, 0], [1, 2]), (REST.into(), 3, [0, 0, 0, 3, 0], [3, 6])]
    );
    assert_eq!(shown(3).len(), 3);
}

#[test]
fn what_is_left_in_each_dialect() {
    let quota = |reset| Some(Quota { limit: 600, remaining: 599, reset });
    let standing = Standing { requests: quota(Duration::from_millis(100)), tokens: quota(6 * MINUTE) };
    let wall = expiry("2026-12-31T23:59:59.5Z").expect("a time");
    let told = |standing, shape| {
        let fields = fields(standing, shape, wall);
        fields.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
    };
    let openai = "\
x-ratelimit-limit-requests: 600
x-ratelimit-remaining-requests: 599
x-ratelimit-reset-requests: 100ms
x-ratelimit-limit-tokens: 600
x-ratelimit-remaining-tokens: 599
x-ratelimit-reset-tokens: 6m0s";
    assert_eq!(told(&standing, Shape::OpenAi), openai);
    assert_eq!(told(&standing, Shape::Ollama), openai);
    let anthropic = "\
anthropic-ratelimit-requests-limit: 600
anthropic-ratelimit-requests-remaining: 599
anthropic-ratelimit-requests-reset: 2027-01-01T00:00:00Z
anthropic-ratelimit-tokens-limit: 600
anthropic-ratelimit-tokens-remaining: 599
anthropic-ratelimit-tokens-reset: 2027-01-01T00:06:00Z";
    assert_eq!(told(&standing, Shape::Anthropic), anthropic);
    assert_eq!(told(&Standing::default(), Shape::OpenAi), "");
    for (reset, want) in [
        (Duration::ZERO, "0s"),
        (Duration::from_nanos(1), "1ms"),
        (Duration::from_micros(999_001), "1s"),
        (Duration::from_millis(1001), "2s"),
        (59 * SECOND, "59s"),
        (Duration::from_millis(59_001), "1m0s"),
        (3661 * SECOND, "1h1m1s"),
        (Duration::MAX, "5124095576030431h0m16s"),
    ] {
        let standing = Standing { requests: quota(reset), tokens: None };
        let fields = fields(&standing, Shape::OpenAi, wall);
        assert_eq!(fields[2].1, want, "{reset:?}");
        assert_eq!(super::fields(&standing, Shape::Anthropic, wall).len(), 3, "no overflow");
    }
}

proptest! {
    /// However requests come, no more pass than the bucket has held and got; whoever waits as long as told passes, and not before.
    #[test]
    fn no_more_pass_than_the_limit_says(limit in 1_u64..200, steps in prop::collection::vec(0_u64..20_000, 1..300)) {
        let start = Instant::now();
        let account = account(&format!("requests_per_minute: {limit}"), start);
        let (mut at, mut passed) = (0, 0_u64);
        for step in steps {
            at += step;
            let now = start + Duration::from_millis(at);
            let allowed = limit + at * limit / 60_000;
            match account.admit(now) {
                Ok((_, standing)) => {
                    passed += 1;
                    prop_assert!(passed <= allowed);
                    let quota = standing.requests.expect("a limit");
                    prop_assert!(quota.remaining < limit && quota.reset <= MINUTE);
                }
                Err(Limited { wait, standing, .. }) => {
                    prop_assert_eq!(standing.requests.expect("a limit").remaining, 0);
                    prop_assert!(wait <= MINUTE);
                    prop_assert!(account.admit(now + wait - Duration::from_nanos(1)).is_err());
                    prop_assert!(account.admit(now + wait).is_ok());
                    passed += 1;
                    at = u64::try_from((now + wait - start).as_nanos().div_ceil(1_000_000)).expect("short");
                }
            }
        }
    }

    /// All tokens that were used are paid for with time before the next request passes.
    #[test]
    fn a_debt_is_never_forgotten(limit in 1_u64..5000, uses in prop::collection::vec((0_u64..9000, 0_u64..90_000), 1..60)) {
        let start = Instant::now();
        let account = account(&format!("tokens_per_minute: {limit}"), start);
        let (mut now, mut used) = (start, 0_u64);
        for (tokens, pause) in uses {
            now += Duration::from_millis(pause);
            if let Err(Limited { wait, .. }) = account.admit(now) {
                prop_assert!(account.admit(now + wait - Duration::from_nanos(1)).is_err());
                now += wait;
                prop_assert!(account.admit(now).is_ok());
            }
            let got = u128::from(limit) + (now - start).as_nanos() * u128::from(limit) / 60_000_000_000;
            prop_assert!(u128::from(used) < got, "used {used} of {got}");
            account.ended(200, [tokens / 2, tokens - tokens / 2], now);
            used += tokens;
            let quota = account.standing(now).tokens.expect("a limit");
            prop_assert!(quota.remaining <= limit);
        }
    }
}

/// From a full bucket exactly as many pass as it holds, and no more are in flight than may be, whoever asks at the same time.
#[test]
fn limits_are_exact_under_threads() {
    let now = Instant::now();
    let account = account("requests_per_minute: 1000", now);
    let passed: usize = std::thread::scope(|scope| {
        let asks = || (0..100).filter(|_| account.admit(now).is_ok()).count();
        let threads: Vec<_> = (0..64).map(|_| scope.spawn(asks)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!((passed, account.used()), (1000, (0, Used { limited: [5400, 0, 0], ..Used::default() })));
}
