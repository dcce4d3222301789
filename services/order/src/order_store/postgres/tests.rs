//! The contract suite against a real server, and what only a database with many writers can get wrong.

mod migrations;
mod plans;
mod relays;
mod replicas;

use std::sync::Arc;

use async_trait::async_trait;
use service_kit::postgres::TestDatabase;
use sqlx::Executor;
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;

use contract::events::EventKind;

use super::super::contract_suite::{Bench, Hands, LIES, START, for_store};
use super::PostgresStore;

/// Connections of a store under test.
const CONNECTIONS: u32 = 8;

/// The database's clock, stopped: in this database `seckill_now()` reads a table.
struct StoppedClock(Mutex<PgConnection>);

impl StoppedClock {
    async fn stop(database: &TestDatabase) -> Self {
        let mut conn = database.connect().await;
        sqlx::query("create table test_clock as select $1::bigint as millis")
            .bind(START.0)
            .execute(&mut conn)
            .await
            .unwrap();
        let reads_table = "create or replace function seckill_now() returns bigint language sql volatile
                               as 'select millis from test_clock'";
        conn.execute(reads_table).await.unwrap();
        Self(Mutex::new(conn))
    }
}

#[async_trait]
impl Hands for StoppedClock {
    async fn pass(&self, millis: i64) {
        let mut conn = self.0.lock().await;
        sqlx::query("update test_clock set millis = millis + $1")
            .bind(millis)
            .execute(&mut *conn)
            .await
            .unwrap();
    }
}

impl Bench {
    fn database(&self) -> &TestDatabase {
        self._files.downcast_ref().unwrap()
    }

    /// Where its database is.
    fn url(&self) -> String {
        self.database().url()
    }

    /// A connection past the stores.
    async fn connect(&self) -> PgConnection {
        self.database().connect().await
    }

    /// What is to be told, whoever holds it.
    async fn told_to_anybody(&self) -> Vec<EventKind> {
        let kinds: Vec<String> = sqlx::query_scalar("select kind from outbox order by seq")
            .fetch_all(&mut self.connect().await)
            .await
            .unwrap();
        let kind = |word: String| EventKind::ALL.into_iter().find(|k| k.routing_key() == word).unwrap();
        kinds.into_iter().map(kind).collect()
    }
}

async fn fresh() -> Bench {
    let (bench, _) = fresh_pair().await;
    bench
}

/// Two stores of one database, as two replicas have them; the second is opened by the test's own hand.
async fn fresh_pair() -> (Bench, PostgresStore) {
    let database = TestDatabase::create().await;
    // Both at once: replicas start together, and only one of them migrates.
    let url = database.url();
    let (first, second) =
        tokio::join!(PostgresStore::open(&url, CONNECTIONS), PostgresStore::open(&url, CONNECTIONS));
    let clock = StoppedClock::stop(&database).await;
    let bench = Bench { store: Arc::new(first.unwrap()), clock: Arc::new(clock), _files: Box::new(database) };
    (bench, second.unwrap())
}

for_store!(fresh, #[ignore = "needs Postgres: cargo xtask test runs it"]);

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn every_lie_in_the_ledger_is_told_by_the_audit() {
    for lie in &LIES {
        let bench = fresh().await.with_a_life().await;
        let mut liar = bench.connect().await;
        // The last line of defence does not let every lie in.
        liar.execute("alter table allocations drop constraint allocations_check").await.unwrap();
        let told = liar.execute(lie.statement).await.unwrap();
        assert!(told.rows_affected() > 0, "{}", lie.statement);
        bench.assert_tells(lie).await;
    }
}
