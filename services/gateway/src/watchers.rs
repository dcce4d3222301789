//! Who waits for news of which order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use domain::OrderId;
use tokio::sync::Notify;

/// The open event streams, by order.
pub(crate) struct Watchers {
    /// With the number of streams that share the bell.
    bells: DashMap<OrderId, (Arc<Notify>, usize)>,
    open: AtomicUsize,
    max: usize,
}

/// A stream's place; gone when dropped.
pub(crate) struct Watch {
    watchers: Arc<Watchers>,
    order: OrderId,
    bell: Arc<Notify>,
}

impl Watchers {
    /// At most `max` streams.
    #[must_use]
    pub(crate) fn new(max: usize) -> Self {
        Self { bells: DashMap::new(), open: AtomicUsize::new(0), max }
    }

    /// Streams open now.
    #[must_use]
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Something happened to this order.
    pub(crate) fn ring(&self, order: OrderId) {
        if self.open() > 0
            && let Some(bell) = self.bells.get(&order)
        {
            bell.0.notify_waiters();
        }
    }

    /// Something may have happened to any order.
    pub(crate) fn ring_all(&self) {
        self.bells.iter().for_each(|bell| bell.0.notify_waiters());
    }
}

impl Watch {
    /// Watches an order; `None` when too many streams are open.
    pub(crate) fn new(watchers: Arc<Watchers>, order: OrderId) -> Option<Self> {
        let room = |open: usize| (open < watchers.max).then_some(open + 1);
        watchers.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        let bell = {
            let mut entry = watchers.bells.entry(order).or_default();
            entry.1 += 1;
            entry.0.clone()
        };
        Some(Self { watchers, order, bell })
    }

    /// Waits for news. Made before the state is read, it misses none in between.
    pub(crate) fn news(&self) -> tokio::sync::futures::OwnedNotified {
        self.bell.clone().notified_owned()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let all = &self.watchers;
        if let Some(mut bell) = all.bells.get_mut(&self.order) {
            bell.1 -= 1;
        }
        all.bells.remove_if(&self.order, |_, (_, streams)| *streams == 0);
        all.open.fetch_sub(1, Ordering::Relaxed);
    }
}
