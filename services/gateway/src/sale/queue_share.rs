//! What a sale has in its lane. Sales share lanes: one that fills a lane must not take another's share of it.

use std::sync::atomic::{AtomicU64, Ordering};

/// While others fill its lane above the high-water mark, a sale may have one part of so many of that mark in it.
const PARTS: u64 = 16;

/// How many of a sale's orders wait in its lane, as far as this gateway sent them. Nobody tells whose messages a lane's
/// are, so it is reckoned: they leave at the rate at which all of the lane's do.
#[derive(Default)]
pub(crate) struct QueueShare(AtomicU64);

impl QueueShare {
    /// One more order is in the lane.
    pub(crate) fn published(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Of what was in the lane, so many thousandths are still there. Rounded up: a few orders are not drained by a lane
    /// that hardly moves, however often it is looked at.
    pub(crate) fn keep(&self, thousandths: u64) {
        let left = |waiting: u64| waiting.saturating_mul(thousandths).div_ceil(1000);
        let kept = |waiting| Some(left(waiting)).filter(|kept| *kept != waiting);
        // Only `published` changes it meanwhile, which is counted anew then.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, kept);
    }

    /// Whether the sale has as much in its lane as is its own under this high-water mark.
    pub(crate) fn is_used_up(&self, high_water: u64) -> bool {
        self.0.load(Ordering::Relaxed) >= high_water / PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_used_up_by_what_waits_and_comes_back_as_the_lane_drains() {
        let (share, mark) = (QueueShare::default(), 160);
        for _ in 0..10 {
            assert!(!share.is_used_up(mark));
            share.published();
        }
        assert!(share.is_used_up(mark));
        share.keep(1000);
        assert!(share.is_used_up(mark), "nothing was consumed");
        (0..100).for_each(|_| share.keep(999));
        assert!(share.is_used_up(mark), "next to nothing was");
        share.keep(899);
        assert!(!share.is_used_up(mark));
        share.keep(0);
        assert_eq!(share.0.into_inner(), 0);
    }

    #[test]
    fn under_a_small_mark_no_sale_has_a_share() {
        assert!(QueueShare::default().is_used_up(PARTS - 1));
    }
}
