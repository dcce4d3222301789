//! The purchase requests of one sale.

use std::sync::Arc;

use domain::Clock;
use governor::RateLimiter;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};

use contract::rules::Rate;

use super::{Policy, Standing, Ticks};

/// A rate limit of one sale.
pub(crate) struct SaleLimit(Option<Limiter>);

struct Limiter {
    policy: Policy,
    limiter: RateLimiter<NotKeyed, InMemoryState, Ticks, StateInformationMiddleware>,
}

impl SaleLimit {
    /// A limit of this rate; without one, no limit.
    #[must_use]
    pub(crate) fn new(rate: Option<Rate>, clock: &Arc<dyn Clock>) -> Self {
        Self(rate.map(|rate| {
            let policy = Policy::new("sale", rate);
            let limiter = RateLimiter::new(policy.quota, InMemoryState::default(), Ticks::new(clock));
            Limiter { policy, limiter }
        }))
    }

    /// Whether the sale may take one more request now.
    ///
    /// # Errors
    /// With the time until it may.
    pub(crate) fn check(&self) -> Result<(), Standing> {
        let Some(Limiter { policy, limiter }) = &self.0 else { return Ok(()) };
        policy.standing(limiter.check(), limiter.clock()).map(|_| ())
    }
}
