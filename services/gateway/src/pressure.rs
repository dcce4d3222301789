//! Back-pressure: how full the lanes are, and how fast they drain.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contract::api::QueueInfo;

/// Longest `Retry-After` of a full lane, in seconds.
const RETRY_AFTER_S_MAX: u32 = 30;

/// The lanes as they were last sampled.
pub(crate) struct Pressure {
    lanes: Box<[Lane]>,
    high_water: u64,
}

#[derive(Default)]
struct Lane {
    depth: AtomicU64,
    drained_per_s: AtomicU64,
    /// What was left, at the last sample, of all that had been in it, in thousandths.
    left: AtomicU64,
    /// By this gateway since the last sample.
    published: AtomicU64,
}

impl Pressure {
    /// Lanes of which nothing is known yet: they count as empty.
    #[must_use]
    pub(crate) fn new(lanes: u16, high_water: u64) -> Self {
        Self { lanes: (0..lanes).map(|_| Lane::default()).collect(), high_water }
    }

    /// One more message is in this lane.
    pub(crate) fn published(&self, lane: u16) {
        if let Some(lane) = self.lanes.get(usize::from(lane)) {
            lane.published.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a sample, `since` after the last one.
    pub(crate) fn sample(&self, stats: &[QueueInfo], since: Duration) {
        for (lane, info) in self.lanes.iter().zip(stats) {
            let before = lane.depth.swap(info.depth, Ordering::Relaxed);
            let arrived = lane.published.swap(0, Ordering::Relaxed);
            let all = before + arrived;
            let drained = all.saturating_sub(info.depth);
            let left = (info.depth.saturating_mul(1000)).checked_div(all).unwrap_or(0);
            lane.left.store(left.min(1000), Ordering::Relaxed);
            let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1);
            let now = drained.saturating_mul(1000) / millis;
            // An exponentially weighted mean: batches make single samples jumpy. Others' messages make them too low, which
            // is safe.
            let smoothed = (3 * lane.drained_per_s.load(Ordering::Relaxed) + now) / 4;
            lane.drained_per_s.store(smoothed, Ordering::Relaxed);
        }
    }

    /// Messages in a lane when it was last sampled.
    #[must_use]
    pub(crate) fn depth(&self, lane: u16) -> u64 {
        self.lanes.get(usize::from(lane)).map_or(0, |lane| lane.depth.load(Ordering::Relaxed))
    }

    /// What was left, at the last sample, of all that had been in a lane, in thousandths.
    #[must_use]
    pub(crate) fn left(&self, lane: u16) -> u64 {
        self.lanes.get(usize::from(lane)).map_or(0, |lane| lane.left.load(Ordering::Relaxed))
    }

    /// Messages in a lane above which it takes no more.
    #[must_use]
    pub(crate) fn high_water(&self) -> u64 {
        self.high_water
    }

    /// Whether the lane takes more. If not: in how many seconds it will, at the rate it drains.
    ///
    /// # Errors
    /// The whole seconds to wait, at least 1.
    pub(crate) fn check(&self, lane: u16) -> Result<(), u32> {
        let Some(lane) = self.lanes.get(usize::from(lane)) else { return Ok(()) };
        let over = lane.depth.load(Ordering::Relaxed).saturating_sub(self.high_water);
        if over == 0 {
            return Ok(());
        }
        let wait_s = match lane.drained_per_s.load(Ordering::Relaxed) {
            0 => RETRY_AFTER_S_MAX,
            rate => u32::try_from(over.div_ceil(rate)).unwrap_or(RETRY_AFTER_S_MAX),
        };
        Err(wait_s.clamp(1, RETRY_AFTER_S_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(depth: u64) -> [QueueInfo; 1] {
        [QueueInfo { depth, ..QueueInfo::default() }]
    }

    #[test]
    fn the_wait_follows_from_the_drain_rate() {
        let pressure = Pressure::new(1, 1000);
        let second = Duration::from_secs(1);
        pressure.sample(&depth(1000), second);
        assert_eq!(pressure.check(0), Ok(()), "at the mark it still takes");
        pressure.sample(&depth(250), second);
        assert_eq!(pressure.left(0), 250);
        for n in 0..40 {
            pressure.sample(&depth(6000 - 100 * n), second);
        }
        // 2100 left, 1100 over the mark, about 100 a second.
        let wait_s = pressure.check(0).unwrap_err();
        assert!((11..=13).contains(&wait_s), "{wait_s}");
        for _ in 0..40 {
            pressure.sample(&depth(6000), second);
        }
        assert_eq!(pressure.check(0), Err(RETRY_AFTER_S_MAX), "nothing drains");
    }
}
