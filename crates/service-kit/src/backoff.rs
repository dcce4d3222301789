//! The waits between attempts at one thing.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The waits between attempts at one thing: each is twice as long as the one before it, up to a limit.
#[derive(Clone, Debug)]
pub struct Backoff {
    first_ms: u64,
    next_ms: u64,
    max_ms: u64,
}

impl Backoff {
    /// Waits of `first_ms` and more, none longer than `max_ms`.
    #[must_use]
    pub fn new(first_ms: u64, max_ms: u64) -> Self {
        Self { first_ms, next_ms: first_ms, max_ms }
    }

    /// An attempt succeeded: the next wait is the first again.
    pub fn reset(&mut self) {
        self.next_ms = self.first_ms;
    }

    /// Waits for the next attempt, longer each time; false if `shutdown` came first, and there is none.
    pub async fn wait(&mut self, shutdown: &CancellationToken) -> bool {
        let wait = Duration::from_millis(self.next_ms);
        self.next_ms = self.next_ms.saturating_mul(2).min(self.max_ms);
        shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_some()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let (mut backoff, shutdown) = (Backoff::new(50, 150), CancellationToken::new());
        let waited = async |backoff: &mut Backoff| {
            let since = Instant::now();
            assert!(backoff.wait(&shutdown).await);
            since.elapsed().as_millis()
        };
        for expected in [50, 100, 150, 150] {
            assert_eq!(waited(&mut backoff).await, expected);
        }
        backoff.reset();
        assert_eq!(waited(&mut backoff).await, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait_and_every_later_one() {
        let (mut backoff, shutdown) = (Backoff::new(50, 150), CancellationToken::new());
        let since = Instant::now();
        let (waited, ()) = tokio::join!(backoff.wait(&shutdown), async { shutdown.cancel() });
        assert!(!waited && !backoff.wait(&shutdown).await);
        assert_eq!(since.elapsed(), Duration::ZERO);
    }
}
