//! A sale's share of this gateway: how many of its purchases may be at work at once.
//!
//! The share is not only bounded, it follows what the sale's purchases cost: while they take longer than
//! the target, it shrinks by an eighth a target's time; while they do not, it grows back, one by one. So a
//! sale whose lane or store is slow sheds its own load, at the door, before it fills what all sales share.
//! Only a share that is used says anything about how large it may be: one slow purchase shrinks nothing, and a
//! share that was shrunk and is not used any more is given back after a while.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What a sale always keeps, however slow: enough to notice that things are better.
const ROOM_MIN: usize = 16;

/// A share that is not used is whole again after so many targets' time without having shrunk.
const RESTORED_AFTER_TARGETS: u32 = 10;

/// A sale's share.
pub(crate) struct Bulkhead {
    at_work: AtomicUsize,
    room: AtomicUsize,
    max: usize,
    target: Duration,
    began: Instant,
    /// When the share last shrank, in milliseconds after `began`.
    shrank_ms: AtomicU64,
}

/// One purchase at work; over when dropped.
pub(crate) struct Share<'a> {
    of: &'a Bulkhead,
    since: Instant,
}

impl Bulkhead {
    /// A share of at most `max`, whose purchases should take no longer than `target`.
    #[must_use]
    pub(crate) fn new(max: usize, target: Duration) -> Self {
        Self {
            at_work: AtomicUsize::new(0),
            room: AtomicUsize::new(max),
            max,
            target,
            began: Instant::now(),
            shrank_ms: AtomicU64::new(0),
        }
    }

    /// A place for one more purchase, if there is one.
    pub(crate) fn enter(&self) -> Option<Share<'_>> {
        let room = self.room.load(Ordering::Relaxed);
        let one_more = |n: usize| (n < room).then_some(n + 1);
        self.at_work.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).ok()?;
        Some(Share { of: self, since: Instant::now() })
    }

    /// Purchases that may be at work at once now.
    #[must_use]
    pub(crate) fn room(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    /// Gives an unused share back that shrank long ago: nobody is there to make it grow.
    pub(crate) fn restore(&self) {
        let room = self.room.load(Ordering::Relaxed);
        let is_used = is_used(room, self.at_work.load(Ordering::Relaxed));
        let pause_ms = in_ms(self.target * RESTORED_AFTER_TARGETS);
        let shrank_ms = self.shrank_ms.load(Ordering::Relaxed);
        if room < self.max && !is_used && in_ms(self.began.elapsed()) >= shrank_ms.saturating_add(pause_ms) {
            self.room.store(self.max, Ordering::Relaxed);
        }
    }

    fn learn(&self, took: Duration, at_work: usize) {
        let room = self.room.load(Ordering::Relaxed);
        if !is_used(room, at_work) {
            return;
        }
        if took <= self.target {
            if room < self.max {
                self.room.store(room + 1, Ordering::Relaxed);
            }
            return;
        }
        let now_ms = in_ms(self.began.elapsed());
        let pause_ms = in_ms(self.target);
        let is_due = |last: u64| (now_ms >= last.saturating_add(pause_ms)).then_some(now_ms);
        if self.shrank_ms.fetch_update(Ordering::AcqRel, Ordering::Relaxed, is_due).is_ok() {
            let smaller = (room.min(at_work) * 7 / 8).max(ROOM_MIN.min(self.max));
            self.room.store(smaller, Ordering::Relaxed);
        }
    }
}

fn is_used(room: usize, at_work: usize) -> bool {
    2 * at_work >= room
}

fn in_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let at_work = self.of.at_work.fetch_sub(1, Ordering::AcqRel);
        self.of.learn(self.since.elapsed(), at_work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(100);

    async fn round(bulkhead: &Bulkhead, took: Duration) -> usize {
        let shares: Vec<_> = std::iter::from_fn(|| bulkhead.enter()).collect();
        let entered = shares.len();
        tokio::time::advance(took).await;
        drop(shares);
        entered
    }

    #[tokio::test(start_paused = true)]
    async fn the_share_shrinks_while_things_are_slow_and_grows_back() {
        let bulkhead = Bulkhead::new(1000, TARGET);
        assert_eq!(round(&bulkhead, TARGET).await, 1000, "in time: nothing changes");
        let mut last = 1000;
        for _ in 0..40 {
            let entered = round(&bulkhead, 2 * TARGET).await;
            assert!(entered <= last && entered * 8 >= last * 7 - 8, "{entered} after {last}");
            last = entered;
        }
        assert_eq!(bulkhead.room(), ROOM_MIN);
        for _ in 0..30 {
            round(&bulkhead, TARGET / 2).await;
        }
        assert_eq!(bulkhead.room(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_purchase_of_a_quiet_sale_shrinks_nothing() {
        let bulkhead = Bulkhead::new(512, TARGET);
        let share = bulkhead.enter();
        tokio::time::advance(30 * TARGET).await;
        drop(share);
        assert_eq!(bulkhead.room(), 512);
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_that_shrank_is_whole_again_when_the_crowd_is_gone() {
        let bulkhead = Bulkhead::new(512, TARGET);
        for _ in 0..40 {
            round(&bulkhead, 2 * TARGET).await;
        }
        assert_eq!(bulkhead.room(), ROOM_MIN);
        bulkhead.restore();
        assert_eq!(bulkhead.room(), ROOM_MIN, "it has only just shrunk");
        let still_busy: Vec<_> = std::iter::from_fn(|| bulkhead.enter()).collect();
        tokio::time::advance(RESTORED_AFTER_TARGETS * TARGET).await;
        bulkhead.restore();
        assert_eq!(bulkhead.room(), ROOM_MIN, "the crowd is still there");
        // They are slow, and the share has shrunk once more.
        drop(still_busy);
        tokio::time::advance(RESTORED_AFTER_TARGETS * TARGET).await;
        bulkhead.restore();
        assert_eq!(bulkhead.room(), 512);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_share_stays_usable() {
        let bulkhead = Bulkhead::new(2, TARGET);
        for _ in 0..5 {
            assert_eq!(round(&bulkhead, 5 * TARGET).await, 2);
        }
    }
}
