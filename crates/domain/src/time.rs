//! Time as the contract speaks it: Unix milliseconds.

/// A moment, in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The moment `millis` later.
    #[must_use]
    pub fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this moment; negative if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where a component reads the time. A parameter everywhere, so that tests own it.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> UnixMillis;
}
