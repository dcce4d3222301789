//! The wall clock, read in one place and handed to whoever needs a moment of the day.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Unix milliseconds that never step back: one reading of the wall clock, then monotonic time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    read_at: Instant,
    read_ms: i64,
}

impl Clock {
    /// The process's clock.
    #[expect(clippy::disallowed_methods, reason = "the one reading that everything else is given")]
    pub(crate) fn system() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { read_at: Instant::now(), read_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) }
    }

    /// Now, in Unix milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        let passed = i64::try_from(self.read_at.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.read_ms.saturating_add(passed)
    }
}
