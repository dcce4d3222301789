//! The platform's clock as rate limiters read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::Clock;
use governor::nanos::Nanos;

/// A [`domain::Clock`] for one governor limiter.
///
/// A limiter counts from the moment it was made. Its first reading, made by its constructor, is
/// therefore answered with zero: all limiters then count from 1970, and can share a table, and a rate
/// changed while it runs keeps what was counted before.
pub(crate) struct Ticks {
    clock: Arc<dyn Clock>,
    begun: AtomicBool,
}

impl Ticks {
    /// For one limiter by this clock.
    #[must_use]
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: clock.clone(), begun: AtomicBool::new(false) }
    }
}

/// The moment of this clock, as limiters count it.
#[must_use]
pub(crate) fn nanos(clock: &dyn Clock) -> Nanos {
    Duration::from_millis(u64::try_from(clock.now().0).unwrap_or(0)).into()
}

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        if self.begun.load(Ordering::Relaxed) {
            return nanos(&*self.clock);
        }
        self.begun.store(true, Ordering::Relaxed);
        Nanos::new(0)
    }
}
