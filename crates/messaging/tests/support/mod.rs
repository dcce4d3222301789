//! Brokers of their own for tests, in folders of their own, on a clock that tests move.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use domain::{Clock, UnixMillis};
use messaging::embedded::{EmbeddedBroker, EmbeddedOptions};
use messaging::topology::Limits;
use tempfile::TempDir;

/// Some moment to begin with.
const BEGINNING: i64 = 1_700_000_000_000;

/// A clock that stands still until it is moved.
pub(crate) struct ManualClock(AtomicI64);

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(BEGINNING)))
    }

    pub(crate) fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

/// A place for one broker. The folder goes with it.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<ManualClock>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: ManualClock::new() }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("queue.db")
    }

    pub(crate) async fn open(&self, options: EmbeddedOptions) -> Arc<EmbeddedBroker> {
        EmbeddedBroker::open(&self.file(), options, self.clock.clone()).await.unwrap()
    }

    /// A connection as another process would have it.
    pub(crate) async fn connect(&self) -> sqlx::SqliteConnection {
        use sqlx::ConnectOptions;
        sqlx::sqlite::SqliteConnectOptions::new().filename(self.file()).connect().await.unwrap()
    }

    /// The bodies in the database, in their order, as another process sees them.
    pub(crate) async fn stored(&self) -> Vec<Vec<u8>> {
        let mut connection = self.connect().await;
        sqlx::query_scalar("SELECT body FROM message ORDER BY id").fetch_all(&mut connection).await.unwrap()
    }
}

/// Options with these limits, and a sweep that tests need not wait for.
pub(crate) fn options(limits: Limits) -> EmbeddedOptions {
    EmbeddedOptions { limits, sweep_every_ms: 20, ..EmbeddedOptions::default() }
}
