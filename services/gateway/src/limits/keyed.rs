//! A limit per key, with a hard cap on how many keys are tracked.

use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use arc_swap::ArcSwap;
use domain::BuyerId;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::{Ticks, quota};
use crate::config::Rate;

/// Checks between two looks at the number of keys: the cap is exceeded by no more than this.
const CHECKS_PER_LOOK: u32 = 4096;
/// A clock set back by more than this makes the limit forget, in milliseconds: kept, its future
/// entries would refuse honest requests until the clock has caught up.
const SET_BACK_MS_MAX: i64 = 1000;

type Limiter = RateLimiter<u64, DashMapStateStore<u64>, Ticks, NoOpMiddleware<Nanos>>;

/// A rate limit per key.
///
/// Keys are 64-bit hashes, drawn differently in every process. Those whose allowance is full again are
/// forgotten each second. When more than `keys_max` are tracked even so, the table starts afresh:
/// for a moment everybody has a whole allowance, and nobody is refused because of others.
pub(crate) struct KeyedLimit(Option<Table>);

struct Table {
    limiter: ArcSwap<Limiter>,
    quota: Quota,
    ticks: Ticks,
    keys_max: usize,
    checks: AtomicU32,
    last_ms: AtomicI64,
}

impl KeyedLimit {
    /// A limit of this rate per key; without a rate, no limit.
    #[must_use]
    pub(crate) fn new(rate: Option<Rate>, keys_max: usize, ticks: &Ticks) -> Self {
        Self(rate.map(|rate| Table {
            limiter: ArcSwap::from_pointee(RateLimiter::dashmap_with_clock(quota(rate), ticks.clone())),
            quota: quota(rate),
            ticks: ticks.clone(),
            keys_max,
            checks: AtomicU32::new(0),
            last_ms: AtomicI64::new(ticks.millis()),
        }))
    }

    /// Whether this key may make one more request now.
    #[must_use]
    pub(crate) fn allows(&self, key: u64) -> bool {
        let Some(table) = &self.0 else { return true };
        let within = table.limiter.load().check_key(&key).is_ok();
        if table.checks.fetch_add(1, Ordering::Relaxed) % CHECKS_PER_LOOK == CHECKS_PER_LOOK - 1 {
            table.hold_the_cap();
        }
        within
    }

    /// Forgets the keys that have their whole allowance again.
    pub(crate) fn tidy(&self) {
        let Some(table) = &self.0 else { return };
        let now_ms = table.ticks.millis();
        if now_ms < table.last_ms.swap(now_ms, Ordering::Relaxed) - SET_BACK_MS_MAX {
            table.start_afresh();
        }
        let limiter = table.limiter.load();
        limiter.retain_recent();
        limiter.shrink_to_fit();
    }

    /// Keys tracked now.
    #[must_use]
    pub(crate) fn keys(&self) -> usize {
        self.0.as_ref().map_or(0, |table| table.limiter.load().len())
    }
}

impl Table {
    fn hold_the_cap(&self) {
        if self.limiter.load().len() > self.keys_max {
            self.start_afresh();
        }
    }

    fn start_afresh(&self) {
        let fresh = RateLimiter::dashmap_with_clock(self.quota, self.ticks.clone());
        self.limiter.store(fresh.into());
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

/// The key of a client address: an IPv6 network of 64 bits counts as one, being one customer's.
#[must_use]
pub(crate) fn address_key(peer: SocketAddr) -> u64 {
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => hash(ip.octets()),
        IpAddr::V6(ip) => hash(&ip.octets()[..8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Clock, UnixMillis};
    use std::num::NonZeroU32;
    use std::sync::Arc;

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> UnixMillis {
            UnixMillis(self.0.load(Ordering::Relaxed))
        }
    }

    fn limit(n: u32, s: u32, keys_max: usize) -> (KeyedLimit, Arc<Hand>) {
        let clock = Arc::new(Hand(AtomicI64::new(1_790_000_000_000)));
        let rate = Rate { requests: NonZeroU32::new(n).unwrap(), per_s: NonZeroU32::new(s).unwrap() };
        (KeyedLimit::new(Some(rate), keys_max, &Ticks::new(clock.clone())), clock)
    }

    #[test]
    fn exactly_n_pass_on_a_frozen_clock_and_each_key_has_its_own() {
        let (limit, clock) = limit(10, 1, 100);
        assert_eq!((0..100).filter(|_| limit.allows(1)).count(), 10);
        assert!(limit.allows(2));
        clock.0.fetch_add(99, Ordering::Relaxed);
        assert!(!limit.allows(1), "a tenth of a second is not over");
        clock.0.fetch_add(1, Ordering::Relaxed);
        assert!(limit.allows(1) && !limit.allows(1), "one comes back each tenth of a second");
    }

    #[test]
    fn keys_are_capped_and_full_ones_forgotten() {
        let (limit, clock) = limit(1, 1, 1000);
        for key in 0..100_000 {
            let _ = limit.allows(key);
            assert!(limit.keys() <= 1000 + usize::try_from(CHECKS_PER_LOOK).unwrap());
        }
        clock.0.fetch_add(5000, Ordering::Relaxed);
        limit.tidy();
        assert_eq!(limit.keys(), 0);
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let (limit, clock) = limit(1, 1, 10);
        assert!(limit.allows(1) && !limit.allows(1));
        clock.0.fetch_sub(3_600_000, Ordering::Relaxed);
        limit.tidy();
        assert!(limit.allows(1));
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let at = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(at("[2001:db8::1]:1"), at("[2001:db8::ffff:0:0:2]:9"));
        assert_ne!(at("[2001:db8:0:1::1]:1"), at("[2001:db8::1]:1"));
        assert_eq!(at("10.0.0.1:1"), at("[::ffff:10.0.0.1]:2"));
    }
}
