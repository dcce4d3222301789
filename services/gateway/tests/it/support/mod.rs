//! A gateway to test, and what it is tested with.

pub mod app;
pub mod bus;
pub mod captcha;
pub mod http;
pub mod queue;
pub mod stock;
pub mod upstream;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domain::{Clock, UnixMillis};

pub use app::{App, Options, SALE};
pub use http::Answer;

/// The moment every test begins at.
pub const NOW: i64 = 1_790_000_000_000;

/// A clock that moves when told to.
pub struct Hand(AtomicI64);

impl Default for Hand {
    fn default() -> Self {
        Self(AtomicI64::new(NOW))
    }
}

impl Hand {
    pub fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

/// How long anything is waited for that must come: long, for a machine may have much else to do.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the state is there; fails after [`PATIENCE`].
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
