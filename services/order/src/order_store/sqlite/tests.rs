//! The contract suite against real files, and what only SQLite can get wrong.

use std::sync::Arc;
use std::time::Duration;

use super::super::contract_suite::{Bench, HandClock, for_store};
use super::{SqliteOptions, SqliteStore};

async fn fresh() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let options = SqliteOptions { busy: Duration::from_millis(50), ..SqliteOptions::default() };
    let store = SqliteStore::open(&folder.path().join("ledger.db"), options, clock.clone()).await.unwrap();
    Bench { store: Arc::new(store), clock, _files: Box::new(folder) }
}

for_store!(fresh);
