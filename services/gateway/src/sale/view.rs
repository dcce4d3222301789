//! The sale's view of the stock store: asked for at most every 50 ms, however many want it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use contract::internal::STOCK_LOOK_MS_MAX;
use domain::UnixMillis;
use stock::{SaleView, StockError, StockStore};
use tokio::runtime::{self, Handle};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Sale;

pub(super) struct Views {
    last: ArcSwapOption<Seen>,
    /// Whether somebody is looking, by [`Views::row`]: nobody in the front row waits for the back row's threads.
    looking: [AtomicBool; 2],
    /// A look has ended.
    ended: Notify,
    /// Rises when what was seen no longer counts, also what is being fetched at that moment.
    era: AtomicU64,
    /// The runtime that serves the front row; `None` where there is no runtime yet.
    front: Option<runtime::Id>,
}

/// One look at the store.
struct Seen {
    begun: Instant,
    ended: Instant,
    era: u64,
    outcome: Result<SaleView, StockError>,
    gate: OnceLock<Bytes>,
}

/// The right to look. However the look ends, those who wait for it go on.
struct Looking<'a> {
    views: &'a Views,
    row: usize,
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.views.looking[self.row].store(false, Ordering::Release);
        self.views.ended.notify_waiters();
    }
}

impl Views {
    /// Nothing seen yet. Made on the runtime that serves the front row.
    pub(super) fn new() -> Self {
        Self {
            last: ArcSwapOption::empty(),
            looking: Default::default(),
            ended: Notify::new(),
            era: AtomicU64::new(0),
            front: Handle::try_current().ok().map(|handle| handle.id()),
        }
    }

    /// A look that answers who asks now: the last one, if it is young enough, or the next. All who wait for the next go
    /// on together: one after the other, each would wait for the turns of all before it.
    async fn seen(&self, look: impl AsyncFnOnce() -> Result<SaleView, StockError>) -> Arc<Seen> {
        let asked = Instant::now();
        if let Some(seen) = self.last_for(asked) {
            return seen;
        }
        let row = self.row();
        loop {
            let mut ended = pin!(self.ended.notified());
            // From here on no end of a look is missed.
            ended.as_mut().enable();
            if let Some(seen) = self.last_for(asked) {
                return seen;
            }
            match self.begin(row) {
                Some(looking) => match self.last_for(asked) {
                    Some(seen) => return seen,
                    None => return self.look(looking, look).await,
                },
                None => ended.await,
            }
        }
    }

    async fn look(
        &self,
        _looking: Looking<'_>,
        look: impl AsyncFnOnce() -> Result<SaleView, StockError>,
    ) -> Arc<Seen> {
        let (era, begun) = (self.era.load(Ordering::Acquire), Instant::now());
        let outcome = look().await;
        let seen = Arc::new(Seen { begun, ended: Instant::now(), era, outcome, gate: OnceLock::new() });
        // The other row may have begun later, and been faster.
        if self.last.load().as_ref().is_none_or(|last| last.begun <= begun) {
            self.last.store(Some(seen.clone()));
        }
        seen
    }

    /// The right to look, if nobody in this row has it.
    fn begin(&self, row: usize) -> Option<Looking<'_>> {
        let is_taken = self.looking[row].swap(true, Ordering::AcqRel);
        (!is_taken).then(|| Looking { views: self, row })
    }

    /// Who asks: 0 is the front row, 1 is the back row, whose threads give way to all others.
    fn row(&self) -> usize {
        let here = Handle::try_current().ok().map(|handle| handle.id());
        usize::from(here != self.front)
    }

    /// The last look, if it is an answer to who asked at that moment. What the store shows counts from when the look was
    /// *begun*: an answer that lay unread while this process stood still may be about a state that is long lost. A
    /// failure closes the sale in any case, and counts from when it was heard of.
    ///
    /// Whoever waits for a look asks about the moment it came, so that a slow store is asked for all who wait at once.
    fn last_for(&self, asked: Instant) -> Option<Arc<Seen>> {
        let seen = self.last.load();
        let seen = seen.as_ref()?;
        let from = if seen.outcome.is_ok() { seen.begun } else { seen.ended };
        let counts = seen.era == self.era.load(Ordering::Acquire)
            && asked.saturating_duration_since(from) < Duration::from_millis(STOCK_LOOK_MS_MAX);
        counts.then(|| seen.clone())
    }
}

impl Sale {
    /// The sale as the store showed it at most [`STOCK_LOOK_MS_MAX`] before this call, or since. A store that does not
    /// answer is asked no more often than one that does.
    ///
    /// # Errors
    /// Whatever the store reports: the caller fails closed.
    pub async fn view(&self, stock: &dyn StockStore) -> Result<SaleView, StockError> {
        self.seen(stock).await.outcome.clone()
    }

    /// The gate document of such a view.
    ///
    /// # Errors
    /// As [`Sale::view`].
    pub async fn gate(&self, stock: &dyn StockStore) -> Result<Bytes, StockError> {
        let seen = self.seen(stock).await;
        let view = seen.outcome.as_ref().map_err(Clone::clone)?;
        Ok(seen.gate.get_or_init(|| super::gate(self, view)).clone())
    }

    /// The stock store's clock, going on from when it was last seen; `None` if it never was. Ahead by what the answer
    /// took at most, and never behind.
    #[must_use]
    pub fn store_now(&self) -> Option<UnixMillis> {
        let seen = self.views.last.load();
        let seen = seen.as_ref()?;
        let since = i64::try_from(seen.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        seen.outcome.as_ref().ok().map(|view| view.now.plus(since))
    }

    /// What was seen so far does not count any more.
    pub fn forget_view(&self) {
        self.views.era.fetch_add(1, Ordering::AcqRel);
    }

    async fn seen(&self, stock: &dyn StockStore) -> Arc<Seen> {
        let look = async || {
            let outcome = stock.view(&self.id).await;
            match &outcome {
                Ok(view) => self.saw(view),
                Err(StockError::UnknownSale(_)) => self.saw_nothing(),
                Err(StockError::Unreachable(_)) => {}
            }
            outcome
        };
        self.views.seen(look).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use contract::events::Change;
    use domain::{Epoch, Phase, StateInputs};

    use super::*;

    fn open(epoch: u64) -> SaleView {
        let inputs =
            StateInputs { phase: Phase::Active, opens_at: UnixMillis(0), ends_at: UnixMillis(1), free: 1 };
        SaleView { now: UnixMillis(0), inputs, epoch: Epoch(epoch), change: Change { epoch, n: 1 } }
    }

    /// A look that takes so long, and counts how many there were.
    async fn slow(looks: &AtomicUsize, ms: u64) -> Result<SaleView, StockError> {
        looks.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Ok(open(1))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_lay_unread_is_no_answer_any_more() {
        let (views, looks) = (Views::new(), AtomicUsize::new(0));
        views.seen(async || slow(&looks, STOCK_LOOK_MS_MAX).await).await;
        // The state may have been lost right after it was seen, and its barrier may be in the lane.
        views.seen(async || slow(&looks, 1).await).await;
        assert_eq!(looks.load(Ordering::SeqCst), 2);
        views.seen(async || slow(&looks, 1).await).await;
        assert_eq!(looks.load(Ordering::SeqCst), 2, "that one was begun a moment ago");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_store_is_asked_for_all_who_wait_at_once() {
        let (views, looks) = (Views::new(), AtomicUsize::new(0));
        let crowd = (0..100).map(|n| {
            let (views, looks) = (&views, &looks);
            async move {
                tokio::time::sleep(Duration::from_millis(n)).await;
                let asked = Instant::now();
                let seen = views.seen(async || slow(looks, 4 * STOCK_LOOK_MS_MAX).await).await;
                assert!(
                    asked.saturating_duration_since(seen.begun) < Duration::from_millis(STOCK_LOOK_MS_MAX)
                );
            }
        });
        futures_util::future::join_all(crowd).await;
        assert_eq!(
            looks.load(Ordering::SeqCst),
            2,
            "for those before the first one's time was up, and the others"
        );
    }

    #[tokio::test]
    async fn the_front_row_does_not_wait_for_a_look_of_the_back_row() {
        let (views, looks) = (Arc::new(Views::new()), AtomicUsize::new(0));
        let (begun, is_begun) = tokio::sync::oneshot::channel();
        let (let_go, held) = tokio::sync::oneshot::channel::<()>();
        let back = std::thread::spawn({
            let views = views.clone();
            move || {
                let runtime = runtime::Builder::new_current_thread().build().unwrap();
                let look = async move || {
                    let _ = begun.send(());
                    let _ = held.await;
                    Ok(open(1))
                };
                runtime.block_on(views.seen(look));
            }
        });
        is_begun.await.unwrap();
        let seen = views.seen(async || slow(&looks, 1).await);
        let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
        drop(let_go);
        back.join().unwrap();
        assert!(seen.is_ok_and(|seen| seen.outcome.is_ok()));
        assert_eq!(looks.load(Ordering::SeqCst), 1, "it looked itself");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_looking_holds_nobody_up() {
        let (views, looks) = (Views::new(), AtomicUsize::new(0));
        let first = views.seen(async || slow(&looks, 4 * STOCK_LOOK_MS_MAX).await);
        let first = tokio::time::timeout(Duration::from_millis(2), first);
        let second = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            views.seen(async || slow(&looks, 1).await).await
        };
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_err() && second.outcome.is_ok());
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_is_asked_no_more_often() {
        let (views, looks) = (Views::new(), AtomicUsize::new(0));
        let fails = async || {
            let _ = slow(&looks, 4 * STOCK_LOOK_MS_MAX).await;
            Err(StockError::Unreachable("cut by the test".into()))
        };
        assert!(views.seen(fails).await.outcome.is_err());
        assert!(views.seen(async || slow(&looks, 1).await).await.outcome.is_err(), "so soon after");
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        tokio::time::advance(Duration::from_millis(STOCK_LOOK_MS_MAX)).await;
        assert!(views.seen(async || slow(&looks, 1).await).await.outcome.is_ok());
    }
}
