//! The page cache: what is made of a sale's terms, by item, whoever asks.
//!
//! A page belongs to one edition of what it shows. News (a broadcast, an operator's change, a look at
//! inventory) makes a new edition, and with it the old page is never asked for again. A page whose edition has
//! not been checked for a while is served as it is, and inventory is asked behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{Counter, counter};
use moka::future::Cache;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::routes::document::Document;

/// How long what inventory said counts as fresh.
const FRESH_MS: u64 = 1000;
/// Pages nobody asked for are forgotten after this.
const IDLE_S: u64 = 300;

/// What a page shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Item {
    /// `GET /api/v1/sales`.
    List,
    /// `GET /api/v1/sales/{sale}`, by the sale's slot.
    Sale(u32),
    /// `GET /s/{sale}`, by the sale's slot.
    Page(u32),
}

/// The pages, by item and edition.
pub(crate) struct PageCache {
    pages: Cache<(Item, u64), Arc<Document>>,
    heard: Mutex<Instant>,
    asked: AtomicBool,
    hits: Counter,
    misses: Counter,
}

impl PageCache {
    /// A cache of at most this many bytes.
    #[must_use]
    pub(crate) fn new(bytes_max: u64) -> Self {
        let weigh = |_: &(Item, u64), page: &Arc<Document>| u32::try_from(page.weight()).unwrap_or(u32::MAX);
        let pages = Cache::builder().max_capacity(bytes_max).weigher(weigh);
        let outcome = |outcome: &'static str| counter!("gateway_page_cache_total", "outcome" => outcome);
        Self {
            pages: pages.time_to_idle(Duration::from_secs(IDLE_S)).build(),
            heard: Mutex::new(Instant::now()),
            asked: AtomicBool::new(false),
            hits: outcome("hit"),
            misses: outcome("miss"),
        }
    }

    /// The item's page of this edition. However many miss it at once, it is built once, and off the
    /// threads that serve.
    pub(crate) async fn get(
        &self,
        item: Item,
        edition: u64,
        build: impl FnOnce() -> Document + Send + 'static,
    ) -> Arc<Document> {
        if let Some(page) = self.pages.get(&(item, edition)).await {
            self.hits.increment(1);
            return page;
        }
        let made = async {
            self.misses.increment(1);
            let built = tokio::task::spawn_blocking(build).await;
            Arc::new(built.unwrap_or_else(|_| Document::json(&())))
        };
        self.pages.get_with((item, edition), made).await
    }

    /// Inventory has been heard, or has not answered: either way the next stale page may ask again.
    pub(crate) fn heard(&self, answered: bool) {
        if answered {
            *self.heard.lock() = Instant::now();
        }
        self.asked.store(false, Ordering::Release);
    }

    /// Whether what the pages show should be checked now. True for the first who asks, once a check.
    pub(crate) fn wants_check(&self) -> bool {
        let is_stale = self.heard.lock().elapsed() >= Duration::from_millis(FRESH_MS);
        is_stale && !self.asked.swap(true, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn concurrent_misses_build_once_and_a_new_edition_builds_again() {
        let cache = Arc::new(PageCache::new(1 << 20));
        let built = Arc::new(AtomicUsize::new(0));
        for edition in 0..3 {
            let mut asking = tokio::task::JoinSet::new();
            for _ in 0..500 {
                let (cache, built) = (cache.clone(), built.clone());
                asking.spawn(async move {
                    let build = move || Document::json(&built.fetch_add(1, Ordering::SeqCst));
                    cache.get(Item::List, edition, build).await;
                });
            }
            asking.join_all().await;
            assert_eq!(built.load(Ordering::SeqCst), usize::try_from(edition).unwrap() + 1);
        }
    }

    #[tokio::test]
    async fn the_cache_is_bounded_in_bytes() {
        let cache = PageCache::new(100_000);
        for slot in 0..1000 {
            let page = || Document::new(vec![7; 400].into(), "text/plain", "no-store");
            cache.get(Item::Sale(slot), 1, page).await;
        }
        cache.pages.run_pending_tasks().await;
        assert!(cache.pages.weighted_size() <= 100_000, "{}", cache.pages.weighted_size());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_page_asks_once_until_it_is_answered() {
        let cache = PageCache::new(1000);
        assert!(!cache.wants_check());
        tokio::time::advance(Duration::from_millis(FRESH_MS)).await;
        assert!(cache.wants_check() && !cache.wants_check());
        cache.heard(false);
        assert!(cache.wants_check(), "no answer: the next one asks again");
        cache.heard(true);
        assert!(!cache.wants_check());
    }
}
