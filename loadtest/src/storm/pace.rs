//! When the next buyer arrives.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Hands out buyers and their intended moments, to all generator threads.
#[derive(Debug)]
pub(super) struct Pace {
    next: AtomicU64,
    buyers: u64,
    begun: Instant,
    /// Nanoseconds between two arrivals; none in the closed loop.
    gap_ns: Option<f64>,
    stopped: AtomicBool,
}

impl Pace {
    /// `rate` buyers a second whatever happens, or (without a rate) as fast as answers come.
    pub(super) fn new(rate: Option<f64>, buyers: u64, begun: Instant) -> Self {
        let gap_ns = rate.map(|rate| 1e9 / rate.max(1e-3));
        Self { next: AtomicU64::new(0), buyers, begun, gap_ns, stopped: AtomicBool::new(false) }
    }

    /// No further arrivals.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// The next buyer and the moment it meant to click, which may have passed already: whoever is
    /// late measures from there, so that a stall is not left out of the latencies it caused.
    pub(super) async fn next(&self) -> Option<(u64, Instant)> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        if index >= self.buyers {
            return None;
        }
        let Some(gap_ns) = self.gap_ns else { return Some((index, Instant::now())) };
        #[expect(clippy::cast_precision_loss, reason = "buyers are far fewer than 2^52")]
        let intended = self.begun + Duration::from_secs_f64(index as f64 * gap_ns / 1e9);
        if intended > Instant::now() {
            tokio::time::sleep_until(intended).await;
            // A sleeper that wakes after the end was never meant to click.
            if self.stopped.load(Ordering::Relaxed) {
                return None;
            }
        }
        Some((index, intended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_loop_keeps_its_moments_when_it_is_late() {
        let begun = Instant::now();
        let pace = Pace::new(Some(1000.0), 3, begun);
        tokio::time::sleep(Duration::from_millis(10)).await;
        for n in 0..3 {
            let (index, intended) = pace.next().await.unwrap();
            assert_eq!((index, intended - begun), (n, Duration::from_millis(n)));
        }
        assert!(pace.next().await.is_none(), "all buyers came");
    }

    #[tokio::test]
    async fn after_the_end_nobody_arrives() {
        let pace = Pace::new(None, 10, Instant::now());
        assert!(pace.next().await.is_some());
        pace.stop();
        assert!(pace.next().await.is_none());
    }
}
