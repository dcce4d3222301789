//! The contract suite against real files, and what only SQLite can get wrong.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::super::contract_suite::{Bench, HandClock, LIES, for_store};
use super::{SqliteOptions, SqliteStore, batch, snapshot};

/// The ledger, in a folder of its own.
const FILE: &str = "ledger.db";

async fn fresh() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let options = SqliteOptions { busy: Duration::from_millis(50), ..SqliteOptions::default() };
    let store = SqliteStore::open(&folder.path().join(FILE), options, clock.clone()).await.unwrap();
    Bench { store: Arc::new(store), clock, _files: Box::new(folder) }
}

for_store!(fresh);

#[tokio::test]
async fn every_lie_in_the_ledger_is_told_by_the_audit() {
    for lie in &LIES {
        let bench = fresh().await.with_a_life().await;
        let folder: &tempfile::TempDir = bench._files.downcast_ref().unwrap();
        // Past the store, and past the constraints that do not let every lie in.
        let file = SqliteConnectOptions::new()
            .filename(folder.path().join(FILE))
            .pragma("ignore_check_constraints", "on");
        let mut liar = SqliteConnection::connect_with(&file).await.unwrap();
        let told = sqlx::query(lie.statement).execute(&mut liar).await.unwrap();
        assert!(told.rows_affected() > 0, "{}", lie.statement);
        bench.assert_tells(lie).await;
    }
}

/// Orders of other sales, most of them live.
const OTHERS: &str = "insert into orders (id, sale, buyer, quantity, amount_cents, currency, status, created_at, pay_by)
     with recursive n(n) as (select 1 union all select n + 1 from n where n < 20000)
     select randomblob(16), 'other-' || n % 7, 'b' || n, 1, 1999, 'EUR', iif(n % 3, 'paid', 'expired'), 1, n from n";

#[tokio::test]
async fn a_page_of_a_snapshot_and_a_buyers_limit_keep_to_their_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, options) = (folder.path().join(FILE), SqliteOptions::default());
    let store = SqliteStore::open(&path, options, HandClock::new()).await.unwrap();
    for step in ["select 1", OTHERS, "analyze"] {
        sqlx::query(step).execute(&store.readers).await.unwrap();
        // A new connection: an old one plans by what the file was like when it was opened.
        let mut reader = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
        for (statement, index) in [(snapshot::PAGE, "orders_live"), (batch::LIVE_UNITS, "orders_by_buyer")] {
            let explain = AssertSqlSafe(format!("explain query plan {statement}"));
            let plan = sqlx::query(explain).fetch_all(&mut reader).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert!(plan.iter().any(|line| line.contains(index)), "{step}: {statement}: {plan:?}");
        }
    }
}
