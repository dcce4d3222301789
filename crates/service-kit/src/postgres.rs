//! How every service speaks to Postgres: every wait has an end, and the same one everywhere.

#[cfg(feature = "test-database")]
mod test_database;

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Postgres};

#[cfg(feature = "test-database")]
pub use test_database::TestDatabase;

/// How long a statement may run, in milliseconds.
const STATEMENT_MS_MAX: u64 = 5_000;
/// How long a statement may wait for a lock, in milliseconds. One of a migration too: whoever asks for the same table
/// after it stands behind it, and would wait for as long as the audit goes on that it waits for.
const LOCK_MS_MAX: u64 = 3_000;
/// How long a transaction may stand idle, in milliseconds: a process that was stopped inside one holds
/// its rows no longer than this.
const IDLE_IN_TRANSACTION_MS_MAX: u64 = 5_000;
/// How long to wait for a connection, a new one or one of the pool, in milliseconds.
const ACQUIRE_MS_MAX: u64 = 3_000;
/// How long a call may take in all, in milliseconds. The server's own limits end most calls before; this
/// one ends those whose answer the network swallowed.
const CALL_MS_MAX: u64 = 10_000;
/// How long bringing the tables up to date may take, waiting for other replicas included, in milliseconds.
const MIGRATE_MS_MAX: u64 = 60_000;
/// A connection that was idle for longer is tried before it is used, in milliseconds.
const TRUSTED_IDLE_MS_MAX: u64 = 500;
/// Prepared statements a connection keeps.
const STATEMENTS_MAX: usize = 128;

const _: () = assert!(LOCK_MS_MAX < STATEMENT_MS_MAX && STATEMENT_MS_MAX < CALL_MS_MAX);

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be reached, or the URL is none of Postgres.
    #[error("{0}")]
    Connect(#[from] sqlx::Error),
    /// Its tables cannot be brought up to date.
    #[error("migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// That took too long.
    #[error("migrations: not done within {MIGRATE_MS_MAX} ms")]
    MigrateTimeout,
}

/// What a call does with its connection.
pub type Work<'c, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>;

/// Brings the tables up to date and opens a pool of at most `connections`. Any number of replicas may do
/// so at once: the migrations run one after the other, under an advisory lock.
///
/// # Errors
/// When the database cannot be reached or migrated. A table that was in use for too long is no reason to give up: what
/// a migration had begun is undone, and it may be tried again.
pub async fn open(
    url: &str,
    connections: u32,
    service: &'static str,
    migrator: &Migrator,
) -> Result<PgPool, OpenError> {
    let plain = plain(url, service)?;
    // On a connection of its own: the bounds of everyday statements do not fit a migration, nor the wait
    // for another replica's.
    let migrate = async {
        let mut connection = PgConnection::connect_with(&plain).await?;
        // Before the bound: another replica's migrations may take their time; behind who waits for them stands nobody.
        // The migrator asks for this lock once more, and has it.
        Migrate::lock(&mut connection).await?;
        sqlx::query(LOCK_BOUND).bind(LOCK_MS_MAX.to_string()).execute(&mut connection).await?;
        // `run` would do the same, but hides from the compiler that this future is `Send`.
        migrator.run_direct(None, &mut connection, false).await?;
        connection.close().await?;
        Ok(())
    };
    let within = Duration::from_millis(MIGRATE_MS_MAX);
    tokio::time::timeout(within, migrate).await.unwrap_or(Err(OpenError::MigrateTimeout))?;
    Ok(pool(url, connections, service).await?)
}

/// Opens a pool of at most `connections` on a database whose tables somebody else brings up to date.
///
/// # Errors
/// When the database cannot be reached.
pub async fn pool(url: &str, connections: u32, service: &'static str) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_millis(ACQUIRE_MS_MAX))
        // A round trip before every call costs much of the short ones.
        .test_before_acquire(false)
        .before_acquire(|connection, used| {
            let idle = used.idle_for >= Duration::from_millis(TRUSTED_IDLE_MS_MAX);
            Box::pin(async move { if idle { connection.ping().await.map(|()| true) } else { Ok(true) } })
        })
        .connect_with(plain(url, service)?.options(session()))
        .await
}

/// Bounds the session's waits for locks.
const LOCK_BOUND: &str = "select set_config('lock_timeout', $1, false)";

/// How to connect, without any bounds.
fn plain(url: &str, service: &'static str) -> Result<PgConnectOptions, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?;
    Ok(options.application_name(service).statement_cache_capacity(STATEMENTS_MAX).disable_statement_logging())
}

/// What every session starts with.
fn session() -> [(&'static str, String); 7] {
    [
        ("statement_timeout", STATEMENT_MS_MAX.to_string()),
        ("lock_timeout", LOCK_MS_MAX.to_string()),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MS_MAX.to_string()),
        // Tables grow from nothing to a million rows between two rounds of the server's statistics: a plan
        // made for the empty table must still be right then. Every everyday query has its index.
        ("enable_seqscan", "off".into()),
        ("enable_hashjoin", "off".into()),
        ("enable_mergejoin", "off".into()),
        // What must scan all the same looks dear to the planner now, and would be compiled each time.
        ("jit", "off".into()),
    ]
}

/// Does `work` on a connection of the pool, within the bound of everyday calls.
///
/// # Errors
/// The work's own, or that there was no connection or no answer in time.
pub async fn call<T, E, F>(pool: &PgPool, work: F) -> Result<T, E>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, E>,
    E: From<sqlx::Error>,
{
    call_within(pool, Duration::from_millis(CALL_MS_MAX), work).await
}

/// A connection while somebody works with it. Who stops in the middle, whether out of time or because nobody
/// waits for the answer any more, leaves it in a state that nobody knows, perhaps with rows locked: it is
/// closed, not used again.
struct Lent {
    connection: PoolConnection<Postgres>,
    answered: bool,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.answered {
            self.connection.close_on_drop();
        }
    }
}

/// Does `work` on a connection of the pool, within `bound`. A connection that did not answer within it, or
/// that was not waited for, is closed, not used again.
///
/// # Errors
/// The work's own, or that there was no connection or no answer in time.
pub async fn call_within<T, E, F>(pool: &PgPool, bound: Duration, work: F) -> Result<T, E>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, E>,
    E: From<sqlx::Error>,
{
    let mut lent = Lent { connection: pool.acquire().await?, answered: false };
    let done = tokio::time::timeout(bound, work(&mut lent.connection)).await;
    lent.answered = done.is_ok();
    done.unwrap_or_else(|_| {
        let why = format!("no answer within {} ms", bound.as_millis());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why)).into())
    })
}
