//! The purchase requests of one sale.

use governor::RateLimiter;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};

use super::{Ticks, quota};
use crate::config::Rate;

/// A rate limit of one sale.
pub struct SaleLimit(Option<RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>>);

impl SaleLimit {
    /// A limit of this rate; without one, no limit.
    #[must_use]
    pub fn new(rate: Option<Rate>, ticks: &Ticks) -> Self {
        Self(rate.map(|rate| RateLimiter::direct_with_clock(quota(rate), ticks.clone())))
    }

    /// Whether the sale may take one more request now.
    #[must_use]
    pub fn allows(&self) -> bool {
        self.0.as_ref().is_none_or(|limiter| limiter.check().is_ok())
    }
}
