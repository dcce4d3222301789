//! The contract suite against the memory adapter.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use domain::{Clock, UnixMillis};
use stock::contract_suite::{Harness, run_all};
use stock::{MemoryStock, StockStore};

struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

struct Memory {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStock>,
}

#[async_trait]
impl Harness for Memory {
    fn store(&self) -> Arc<dyn StockStore> {
        self.store.clone()
    }

    async fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    async fn pass(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    async fn lose(&self) {
        self.store.lose_everything();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_keeps_the_contract() {
    let clock = Arc::new(ManualClock(AtomicI64::new(1_700_000_000_000)));
    let store = Arc::new(MemoryStock::new(clock.clone()));
    run_all(&Memory { clock, store }).await;
}
