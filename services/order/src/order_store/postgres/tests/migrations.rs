//! Migrations of a database that is in use.

use sqlx::{Connection, Executor};
use tokio::time::{Duration, timeout};

use super::{CONNECTIONS, PostgresStore, fresh};
use crate::order_store::StoreError;

/// A migration that waits for a table has given way by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whoever asks for the table after it stands behind it, and a sale stands still.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_migration_gives_way_to_who_reads_for_long_and_is_made_later() {
    let bench = fresh().await.with_sale(9, 1).await;
    let mut reader = bench.connect().await;
    // As the version before left it, for one that drops an index.
    let before = "drop index orders_live; delete from _order_migrations where version = 5";
    reader.execute(before).await.unwrap();
    let mut tx = reader.begin().await.unwrap();
    sqlx::query("select 1 from orders").fetch_all(&mut *tx).await.unwrap();
    let opened = timeout(PATIENCE, PostgresStore::open(&bench.url(), CONNECTIONS)).await;
    let refused = opened.expect("it waits on").err();
    assert!(refused.as_ref().is_some_and(StoreError::is_outage), "to be tried again: {refused:?}");
    tx.rollback().await.unwrap();
    assert!(PostgresStore::open(&bench.url(), CONNECTIONS).await.is_ok());
}
