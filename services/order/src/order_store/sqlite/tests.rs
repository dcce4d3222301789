//! The contract suite against real files, and what only SQLite can get wrong.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Row};

use super::super::contract_suite::{Bench, HandClock, for_store};
use super::{SqliteOptions, SqliteStore, batch, snapshot};

async fn fresh() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let options = SqliteOptions { busy: Duration::from_millis(50), ..SqliteOptions::default() };
    let store = SqliteStore::open(&folder.path().join("ledger.db"), options, clock.clone()).await.unwrap();
    Bench { store: Arc::new(store), clock, _files: Box::new(folder) }
}

for_store!(fresh);

/// Orders of other sales, most of them live.
const OTHERS: &str = "insert into orders (id, sale, buyer, quantity, amount_cents, currency, status, created_at, pay_by)
     with recursive n(n) as (select 1 union all select n + 1 from n where n < 20000)
     select randomblob(16), 'other-' || n % 7, 'b' || n, 1, 1999, 'EUR', iif(n % 3, 'paid', 'expired'), 1, n from n";

#[tokio::test]
async fn a_page_of_a_snapshot_and_a_buyers_limit_keep_to_their_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, options) = (folder.path().join("ledger.db"), SqliteOptions::default());
    let store = SqliteStore::open(&path, options, HandClock::new()).await.unwrap();
    for step in ["select 1", OTHERS, "analyze"] {
        sqlx::query(step).execute(&store.readers).await.unwrap();
        for (statement, index) in [(snapshot::PAGE, "orders_live"), (batch::LIVE_UNITS, "orders_by_buyer")] {
            let explain = AssertSqlSafe(format!("explain query plan {statement}"));
            let plan = sqlx::query(explain).fetch_all(&store.readers).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert!(plan[0].contains(index), "{step}: {statement}: {plan:?}");
        }
    }
}
