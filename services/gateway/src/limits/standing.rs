//! Where a caller stands with a limit, as answers tell it: the `RateLimit` and `RateLimit-Policy`
//! fields of draft-ietf-httpapi-ratelimit-headers (08 to 11 agree on what is used here).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use contract::rules::Rate;
use governor::NotUntil;
use governor::Quota;
use governor::clock::Clock;
use governor::middleware::StateSnapshot;
use governor::nanos::Nanos;

use super::Ticks;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A limit's name and rate, and its field as every answer repeats it.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    name: &'static str,
    pub(super) quota: Quota,
    field: HeaderValue,
}

impl Policy {
    /// The policy of this name: a burst of all requests, refilled evenly over the window.
    #[must_use]
    pub(crate) fn new(name: &'static str, rate: Rate) -> Self {
        let (requests, window_s) = (rate.requests, rate.per_s);
        let period = Duration::from_secs(window_s.get().into()) / requests.get();
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(requests)).allow_burst(requests);
        let field = format!("\"{name}\";q={requests};w={window_s}");
        let field = HeaderValue::from_str(&field).unwrap_or(HeaderValue::from_static(""));
        Self { name, quota, field }
    }

    /// The time in which the whole allowance comes back.
    pub(super) fn window(&self) -> Duration {
        self.quota.replenish_interval() * self.quota.burst_size().get()
    }

    /// What a limiter's outcome means for whoever asked.
    pub(super) fn standing(
        &self,
        outcome: Result<StateSnapshot, NotUntil<Nanos>>,
        ticks: &Ticks,
    ) -> Result<Standing, Standing> {
        let standing = |remaining, reset: Duration| {
            let seconds = reset.as_millis().div_ceil(1000).max(1);
            let reset_s = u32::try_from(seconds).unwrap_or(u32::MAX);
            Standing { policy: self.clone(), remaining, reset_s }
        };
        match outcome {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let gone = self.quota.burst_size().get().saturating_sub(remaining);
                Ok(standing(remaining, self.quota.replenish_interval() * gone))
            }
            Err(refused) => Err(standing(0, refused.wait_time_from(ticks.now()))),
        }
    }
}

/// Where a caller stands with a limit.
#[derive(Clone, Debug)]
pub struct Standing {
    policy: Policy,
    remaining: u32,
    /// Whole seconds until all of it is back or, for who has none left, until the next one is.
    pub(crate) reset_s: u32,
}

impl Standing {
    /// Puts it into an answer's header.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let now = format!("\"{}\";r={};t={}", self.policy.name, self.remaining, self.reset_s);
        if let Ok(now) = HeaderValue::try_from(now) {
            headers.insert(RATELIMIT, now);
        }
        headers.insert(RATELIMIT_POLICY, self.policy.field.clone());
    }
}
