//! The platform's clock as rate limiters read it.

use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use governor::nanos::Nanos;

/// A [`domain::Clock`] for governor.
#[derive(Clone)]
pub struct Ticks(Arc<dyn Clock>);

impl Ticks {
    /// Limits by this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }

    /// Milliseconds, for noticing a clock that was set back.
    #[must_use]
    pub fn millis(&self) -> i64 {
        self.0.now().0
    }
}

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Duration::from_millis(u64::try_from(self.0.now().0).unwrap_or(0)).into()
    }
}
