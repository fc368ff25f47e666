//! The limits of keys as several gateways share them.

use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::account::{Account, Limit};
use super::demand::LimitShare;

/// A limit of a key, as an exchange of credits sees it.
#[derive(Clone, Debug)]
pub struct KeyShare {
    /// The hash of the key's name and the limit: the same in every gateway and version.
    pub name: u64,
    pub limit: Limit,
    /// For [`Account::credit`].
    pub account: Arc<Account>,
    pub part: LimitShare,
}

/// SipHash-1-3 of a key's name and a limit.
pub(super) fn name(key: &str, limit: Limit) -> u64 {
    SipHasher13::new().hash(format!("{key}\0{}", limit.as_str()).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::config::ApiKey;
    use crate::keys::{Bucket, Keyring, Limited, PARTS, Part, hash};

    const SECOND: Duration = Duration::from_secs(1);

    fn key(more: &str) -> ApiKey {
        let hash = hash(b"token").expect("short");
        let text = format!("keys: [{{ name: a, hash: \"{hash}\", {more} }}]");
        ApiKey::parse(&text, "t").unwrap_or_else(|problems| panic!("{problems}")).remove(0)
    }

    fn account(more: &str, now: Instant) -> Arc<Account> {
        let account = Arc::new(Account::new(&key(more), now));
        account.join(true, now);
        account
    }

    fn part(held: u32, level: i64) -> Part {
        Part { held, level: Some(level) }
    }

    /// Old and new gateways must agree while a fleet of them is upgraded one by one.
    #[test]
    fn names_are_the_same_in_every_version() {
        assert_eq!(name("a", Limit::Requests), 0x89c8_b18c_fae2_7a68);
        assert_eq!(Limit::ALL.map(Limit::as_str), ["requests", "tokens", "in_flight"]);
    }

    #[test]
    fn in_flight_needs_credits_and_is_lowered_as_requests_end() {
        let now = Instant::now();
        let account = account("max_in_flight: 4", now);
        let refused = account.admit(now).expect_err("nothing is here");
        assert_eq!((refused.limit, refused.wait), (Limit::InFlight, SECOND));
        let shares = |now| account.shares(now);
        let row =
            |held, in_use, waiting| vec![(Limit::InFlight, LimitShare { cap: 4, held, in_use, waiting })];
        assert_eq!(shares(now + SECOND), row(0, 0, 1));
        assert_eq!(shares(now + 9 * SECOND), row(0, 0, 0), "long ago");
        assert_eq!(account.credit(Limit::InFlight, part(2, 0), now).held, 2);
        let slots: Vec<_> = (0..3).map_while(|_| account.admit(now).ok()).collect();
        assert_eq!(slots.len(), 2);
        assert_eq!(account.credit(Limit::InFlight, part(1, 0), now).held, 2, "two are in flight");
        drop(slots);
        assert_eq!(shares(now + 9 * SECOND), row(1, 0, 0));
        assert_eq!(account.credit(Limit::InFlight, part(9, 0), now).held, 9);
        let slots: Vec<_> = (0..9).map_while(|_| account.admit(now).ok()).collect();
        assert_eq!(slots.len(), 4, "never more than the limit");
        account.join(false, now);
        assert_eq!(account.shares(now), []);
    }

    #[test]
    fn a_part_of_a_rate_is_told_as_the_whole() {
        let now = Instant::now();
        let account = account("requests_per_minute: 600, tokens_per_minute: 1000", now);
        let standing = account.standing(now);
        let quota = standing.requests.expect("a limit");
        assert_eq!((quota.limit, quota.remaining), (600, 0));
        let refused = account.admit(now).expect_err("nothing is here");
        assert!(refused.wait <= 2 * SECOND, "parts come soon: {:?}", refused.wait);
        assert_eq!(account.credit(Limit::Requests, part(250, 250), now), part(250, 0));
        assert_eq!(account.credit(Limit::Tokens, part(500, 500), now), part(500, 0));
        let (_slot, standing) = account.admit(now).expect("150 pass");
        let [requests, tokens] = [standing.requests, standing.tokens].map(|quota| quota.expect("a limit"));
        assert_eq!((requests.limit, requests.remaining, requests.reset), (600, 596, SECOND * 2 / 5));
        assert_eq!((tokens.limit, tokens.remaining, tokens.reset), (1000, 1000, Duration::ZERO));
        let more = (0..600).map_while(|_| account.admit(now).ok()).count();
        assert_eq!(more, 149);
    }

    #[test]
    fn a_debt_moves_with_its_parts_or_they_stay() {
        let now = Instant::now();
        let account = account("tokens_per_minute: 1000", now);
        account.credit(Limit::Tokens, part(1000, 1000), now);
        account.ended(200, [2000, 3000], now);
        let shares = account.shares(now + Duration::from_millis(100));
        assert_eq!(shares[0].1.in_use, 1000, "it works on its debt");
        let at = now + Duration::from_millis(100);
        let stays = account.credit(Limit::Tokens, Part { held: 400, level: None }, at);
        assert_eq!(stays, Part { held: 1000, level: None });
        let gone = account.credit(Limit::Tokens, part(400, 0), at);
        assert_eq!(gone, part(400, -2399), "of 4000 tokens less those of a tenth of a second");
        let other = self::account("tokens_per_minute: 1000", now);
        other.credit(Limit::Tokens, part(600, -2399), at);
        for account in [&account, &other] {
            let Limited { wait, .. } = account.admit(at).expect_err("in debt");
            assert!(wait.abs_diff(240 * SECOND) < SECOND, "{wait:?}");
        }
    }

    #[test]
    fn the_demand_for_a_rate_doubles_while_it_refuses() {
        let now = Instant::now();
        let account = account("requests_per_minute: 6000", now);
        account.credit(Limit::Requests, part(100, 0), now);
        let mut at = now;
        let mut demand = Vec::new();
        for _ in 0..6 {
            for _ in 0..30 {
                at += Duration::from_millis(100);
                (0..3).for_each(|_| drop(account.admit(at)));
                let (_, share) = account.shares(at)[0];
                demand.push(share);
            }
            let LimitShare { in_use, waiting, .. } = *demand.last().expect("thirty");
            account.credit(Limit::Requests, part((in_use + waiting).min(PARTS), 0), at);
        }
        let seen: Vec<_> =
            demand.iter().skip(29).step_by(30).map(|share| (share.in_use, share.waiting > 0)).collect();
        assert_eq!(seen[0], (100, true));
        let last = demand.last().expect("many");
        assert!(last.in_use.abs_diff(300) <= 20, "30 a second of 100: {last:?}");
    }

    #[test]
    fn a_new_key_of_a_ring_in_a_cluster_has_nothing() {
        let now = Instant::now();
        let ring = Keyring::default().joined(true, now).next(vec![key("requests_per_minute: 5")], now);
        assert!(ring.find(b"token").expect("a key").account.admit(now).is_err());
        let [share] = &ring.shares(now)[..] else { panic!("one limit") };
        assert_eq!((share.limit, share.part.cap, share.part.held), (Limit::Requests, PARTS, 0));
        share.account.credit(share.limit, part(1000, 1000), now);
        let next =
            ring.next(vec![key("requests_per_minute: 5, max_in_flight: 3, tokens_per_minute: 7")], now);
        let held: Vec<_> = next.shares(now).iter().map(|share| share.part.held).collect();
        assert_eq!(held, [1000, 0, 0], "what stays is kept");
        let alone = next.joined(false, now);
        let passed: Vec<_> = (0..9)
            .map_while(|_| alone.find(b"token").expect("a key").account.admit(now + 60 * SECOND).ok())
            .collect();
        assert_eq!(passed.len(), 3);
    }

    /// A ledger of one rate: the parts that nobody holds, and what is in them.
    struct Ledger {
        free: u32,
        pot: i64,
        keeps_levels: bool,
    }

    impl Ledger {
        fn new(keeps_levels: bool) -> Self {
            Self { free: PARTS, pot: if keeps_levels { PARTS.into() } else { 0 }, keeps_levels }
        }

        /// The account is to hold so many, or as many as there are.
        fn give(&mut self, account: &Account, limit: Limit, want: u32, now: Instant) {
            let held = account.shares(now).iter().find(|(one, _)| *one == limit).expect("a limit").1.held;
            let (want, take) = (want.min(held + self.free), want.min(held + self.free).saturating_sub(held));
            let level = (self.pot * i64::from(take)).div_euclid(self.free.max(1).into());
            self.pot -= level;
            let got =
                account.credit(limit, Part { held: want, level: self.keeps_levels.then_some(level) }, now);
            self.free = self.free + held - got.held;
            self.pot = (self.pot + got.level.unwrap_or(0)).min(self.free.into());
        }
    }

    proptest! {
        /// What all accounts admit together conforms to the bucket of the whole limit: so within any time they admit no more than
        /// one account would, but for one request each.
        #[test]
        fn parts_together_admit_no_more_than_the_whole(
            limit in 1_u64..300,
            keeps_levels: bool,
            steps in vec((0_usize..4, 0_u32..1001, 0_u64..3000, 0_usize..60), 1..120),
        ) {
            let start = Instant::now();
            let accounts: Vec<_> = (0..4).map(|_| account(&format!("requests_per_minute: {limit}"), start)).collect();
            let mut ledger = Ledger::new(keeps_levels);
            let (mut now, mut level, most) = (start, limit as f64 + 4.0, limit as f64 + 4.0);
            for (place, parts, pause, times) in steps {
                now += Duration::from_millis(pause);
                level = (level + limit as f64 * pause as f64 / 60_000.0).min(most);
                ledger.give(&accounts[place], Limit::Requests, parts, now);
                for account in &accounts {
                    level -= (0..times).map_while(|_| account.admit(now).ok()).count() as f64;
                }
                prop_assert!(level >= -1e-6, "{level}");
            }
        }

        /// The same for tokens, which make debts: what is used is paid for by time.
        #[test]
        fn debts_are_paid_by_somebody(
            limit in 1_u64..3000,
            keeps_levels: bool,
            steps in vec((0_usize..3, 0_u32..1001, 0_u64..9000, 0_u64..4000), 1..80),
        ) {
            let start = Instant::now();
            let accounts: Vec<_> = (0..3).map(|_| account(&format!("tokens_per_minute: {limit}"), start)).collect();
            let mut ledger = Ledger::new(keeps_levels);
            // each may make one debt more than it has paid for
            let most = steps.iter().map(|(.., tokens)| *tokens).max().unwrap_or(0) * 3;
            let (mut now, mut used) = (start, 0);
            for (place, parts, pause, tokens) in steps {
                now += Duration::from_millis(pause);
                ledger.give(&accounts[place], Limit::Tokens, parts, now);
                for account in &accounts {
                    if account.admit(now).is_ok() {
                        account.ended(200, [tokens, 0], now);
                        used += u128::from(tokens);
                    }
                }
                let got = u128::from(limit) + (now - start).as_millis() * u128::from(limit) / 60_000;
                prop_assert!(used <= got + u128::from(most), "{used} of {got}");
            }
        }

        /// A bucket that moves as a whole goes on where it was, but for a thousandth each time.
        #[test]
        fn a_move_loses_nothing(limit in 1_u64..100_000, steps in vec((0_u64..9000, 0_u64..50_000), 1..60)) {
            let start = Instant::now();
            let (mut now, mut whole) = (start, Bucket::full(limit, start));
            let (mut here, mut there) = (whole, Bucket::without_parts(limit, start));
            for (moves, (pause, tokens)) in steps.into_iter().enumerate() {
                now += Duration::from_millis(pause);
                let level = here.share(0, 0, now);
                there.share(PARTS, level, now);
                (here, there) = (there, here);
                whole.fill(now);
                here.fill(now);
                let lost = (moves as u64 + 1) * limit.div_ceil(PARTS.into());
                prop_assert!(here.left() <= whole.left() && here.left() + lost >= whole.left());
                whole.take(tokens);
                here.take(tokens);
            }
        }
    }
}
