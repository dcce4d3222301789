//! A database for one test.

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

/// Names the server that tests may use, by a URL whose user may create databases.
const SERVER: &str = "TEST_POSTGRES_URL";

/// A database of a test's own; dropped with this value, also when the test panics.
pub struct TestDatabase {
    admin: PgConnectOptions,
    name: String,
}

impl TestDatabase {
    /// Creates it.
    ///
    /// # Panics
    /// Without a server to create it on: a test that needs one must not pass without.
    pub async fn create() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let url = std::env::var(SERVER).unwrap_or_else(|_| panic!("{SERVER} names no Postgres server"));
        let admin = PgConnectOptions::from_str(&url).unwrap_or_else(|e| panic!("{SERVER}: {e}"));
        let name = format!("test_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::SeqCst));
        let database = Self { admin, name };
        database.admin_does(format!("drop database if exists {} with (force)", database.name)).await;
        database.admin_does(format!("create database {}", database.name)).await;
        database
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        self.options().to_url_lossy().to_string()
    }

    /// A connection past the service under test.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.options()).await.expect("the test's database can be reached")
    }

    fn options(&self) -> PgConnectOptions {
        self.admin.clone().database(&self.name)
    }

    async fn admin_does(&self, sql: String) {
        let mut admin = PgConnection::connect_with(&self.admin).await.expect("the server can be reached");
        admin.execute(AssertSqlSafe(sql)).await.expect("tests may make and drop databases");
    }
}

impl Drop for TestDatabase {
    /// On a thread of its own: the test's runtime may be the one that is ending.
    fn drop(&mut self) {
        let sql = format!("drop database if exists {} with (force)", self.name);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime can be made").block_on(self.admin_does(sql));
            });
        });
    }
}
