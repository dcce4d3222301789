//! A limit per key.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use contract::rules::Rate;
use domain::{BuyerId, Clock};
use governor::RateLimiter;
use governor::clock::Clock as _;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;

use super::table::{Shared, Table};
use super::{Policy, Standing, Ticks};

/// A rate limit per key. Keys are 64-bit hashes, drawn differently in every process.
pub(crate) struct KeyedLimit {
    policy: Policy,
    table: Arc<Table>,
    limiter: RateLimiter<u64, Shared, Ticks, StateInformationMiddleware>,
}

impl KeyedLimit {
    /// A limit of this rate per key, remembered in this table; without a rate, no limit.
    #[must_use]
    pub(crate) fn new(
        name: &'static str,
        rate: Option<Rate>,
        table: &Arc<Table>,
        clock: &Arc<dyn Clock>,
    ) -> Option<Self> {
        let policy = Policy::new(name, rate?);
        let limiter = RateLimiter::new(policy.quota, Shared(table.clone()), Ticks::new(clock));
        Some(Self { policy, table: table.clone(), limiter })
    }

    /// Counts one more request of this key.
    ///
    /// # Errors
    /// When it is one too many, with the time until it is not.
    pub(crate) fn check(&self, key: u64) -> Result<Standing, Standing> {
        let ticks = self.limiter.clock();
        let mut outcome = self.limiter.check_key(&key);
        let longest = self.policy.quota.replenish_interval();
        if outcome.as_ref().err().is_some_and(|refused| refused.wait_time_from(ticks.now()) > longest) {
            // It was counted at a slower rate, under which that much has to pass. At this one, nothing is left now.
            self.table.full_by(key, ticks.now() + Nanos::from(self.policy.window()));
            outcome = self.limiter.check_key(&key);
        }
        self.policy.standing(outcome, ticks)
    }
}

fn hash(value: impl std::hash::Hash) -> u64 {
    static KEYED: std::sync::LazyLock<std::hash::RandomState> = std::sync::LazyLock::new(Default::default);
    KEYED.hash_one(value)
}

/// The key of a buyer.
#[must_use]
pub(crate) fn buyer_key(buyer: &BuyerId) -> u64 {
    hash(buyer)
}

/// The key of a buyer at one sale, for a sale with a limit of its own.
#[must_use]
pub(crate) fn buyer_at_sale_key(buyer: &BuyerId, slot: u32) -> u64 {
    hash((buyer, slot))
}

/// The key of a buyer who does not buy: both limits share a table.
#[must_use]
pub(crate) fn browsing_buyer_key(buyer: &BuyerId) -> u64 {
    hash(("browse", buyer))
}

/// The key of a client address: an IPv6 network of 64 bits counts as one, being one customer's.
#[must_use]
pub(crate) fn address_key(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(ip) => hash(ip.octets()),
        IpAddr::V6(ip) => hash(&ip.octets()[..8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::nanos;
    use crate::limits::table::SHARDS;
    use domain::UnixMillis;
    use std::num::NonZeroU32;
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> UnixMillis {
            UnixMillis(self.0.load(Ordering::Relaxed))
        }
    }

    struct Limit(KeyedLimit, Arc<Table>, Arc<Hand>, Arc<dyn Clock>);

    impl Limit {
        fn allows(&self, key: u64) -> bool {
            self.0.check(key).is_ok()
        }

        fn tidy(&self) {
            (0..SHARDS).for_each(|shard| self.1.tidy(shard, nanos(&*self.3)));
        }
    }

    fn rate(n: u32, s: u32) -> Option<Rate> {
        Some(Rate { requests: NonZeroU32::new(n).unwrap(), per_s: NonZeroU32::new(s).unwrap() })
    }

    fn limit(n: u32, s: u32, keys_max: usize) -> Limit {
        let hand = Arc::new(Hand(AtomicI64::new(1_790_000_000_000)));
        let (table, clock) = (Arc::new(Table::new(keys_max)), hand.clone() as Arc<dyn Clock>);
        Limit(KeyedLimit::new("buyer", rate(n, s), &table, &clock).unwrap(), table, hand, clock)
    }

    /// Spreads small numbers over all bits, as hashes are.
    fn key(n: u64) -> u64 {
        hash(n)
    }

    #[test]
    fn exactly_n_pass_on_a_frozen_clock_and_each_key_has_its_own() {
        let limit = limit(10, 1, 100);
        assert_eq!((0..100).filter(|_| limit.allows(1)).count(), 10);
        assert!(limit.allows(2));
        limit.2.0.fetch_add(99, Ordering::Relaxed);
        assert!(!limit.allows(1), "a tenth of a second is not over");
        limit.2.0.fetch_add(1, Ordering::Relaxed);
        assert!(limit.allows(1) && !limit.allows(1), "one comes back each tenth of a second");
    }

    #[test]
    fn exactly_n_of_a_burst_from_many_threads_pass() {
        let limit = limit(1000, 1, 100);
        let passed = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    let mine = (0..1000).filter(|_| limit.allows(7)).count();
                    passed.fetch_add(mine, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(passed.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn a_rate_changed_while_it_runs_keeps_what_was_counted() {
        let limit = limit(10, 1, 100);
        assert_eq!((0..5).filter(|_| limit.allows(1)).count(), 5);
        let stricter = KeyedLimit::new("buyer", rate(2, 1), &limit.1, &limit.3).unwrap();
        // Half a second's worth is used: one of the two that a second now grants.
        assert_eq!((0..100).filter(|_| stricter.check(1).is_ok()).count(), 1);
    }

    #[test]
    fn a_rate_made_quicker_keeps_nobody_waiting_as_long_as_the_slower_one() {
        let limit = limit(5, 3600, 100);
        assert_eq!((0..10).filter(|_| limit.allows(1)).count(), 5);
        let quicker = KeyedLimit::new("buyer", rate(10, 1), &limit.1, &limit.3).unwrap();
        assert_eq!(quicker.check(1).unwrap_err().reset_s, 1);
        limit.2.0.fetch_add(100, Ordering::Relaxed);
        assert_eq!(
            (0..10).filter(|_| quicker.check(1).is_ok()).count(),
            1,
            "one comes back each tenth of a second"
        );
    }

    #[test]
    fn junk_keys_stay_within_the_cap_and_cost_honest_ones_nothing() {
        let limit = limit(10, 1, 10_000);
        assert_eq!((0..100).filter(|_| limit.allows(key(0))).count(), 10, "one that hammers");
        for n in 1..=1_000_000 {
            assert!(limit.allows(key(n)), "an honest key's first request");
            if n % 1000 == 0 {
                assert!(limit.1.keys() <= 10_240);
                assert!(!limit.allows(key(0)), "the one that hammers is remembered");
            }
        }
        limit.2.0.fetch_add(5000, Ordering::Relaxed);
        limit.tidy();
        assert_eq!(limit.1.keys(), 0);
    }

    #[test]
    fn a_refusal_says_when_the_next_one_passes() {
        let limit = limit(1, 5, 10);
        assert_eq!(limit.0.check(1).unwrap().reset_s, 5);
        limit.2.0.fetch_add(1500, Ordering::Relaxed);
        assert_eq!(limit.0.check(1).unwrap_err().reset_s, 4);
        limit.2.0.fetch_add(3500, Ordering::Relaxed);
        assert!(limit.allows(1));
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let at = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:0:0:2"));
        assert_ne!(at("2001:db8:0:1::1"), at("2001:db8::1"));
        assert_eq!(at("10.0.0.1"), at("::ffff:10.0.0.1"));
    }
}
