//! The database file: its shape, and the connection that writes. Every write of the broker goes through
//! [`Store`], one transaction at a time, synced at its commit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::UnixMillis;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::index::json_object;
use super::queue::{queue_of_row, row_base};
use crate::QueueError;
use crate::topology::Cause;

/// The writer's page cache, in KiB. What waits in line is small and was just written; and SQLite walks the whole cache
/// at every commit that balances a tree.
const CACHE_KIB: u32 = 1_024;
/// The log is folded into the database beyond this many pages.
const CHECKPOINT_PAGES: u32 = 4_000;
/// The log file is cut back to this size after a checkpoint, in bytes.
const LOG_BYTES_MAX: u32 = 32 << 20;
/// How long one statement waits for a lock that another process holds, in milliseconds.
const LOCK_WAIT_MS_MAX: u64 = 5_000;
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    -- `delivered`: all numbers up to it may have been delivered since the opening.
    CREATE TABLE IF NOT EXISTS queue (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        delivered INTEGER NOT NULL DEFAULT 0);
    -- `id`: the queue's number in the upper bits, the message's place in it in the lower 48.
    CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, at INTEGER NOT NULL,
        tries INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS dead (id INTEGER PRIMARY KEY AUTOINCREMENT, cause TEXT NOT NULL,
        queue INTEGER NOT NULL, died_at INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE INDEX IF NOT EXISTS dead_by_cause ON dead (cause, id);
";

/// A group, in one go: each statement by itself would cost a way to the connection's thread and back.
/// The parameters have no numbers, since those of several statements are counted through. 24 and 16777215 are the bits
/// of a length and their mask.
/// A failure on the way leaves the transaction open; it ends with the connection.
const GROUP: &str = "
    BEGIN IMMEDIATE;
    INSERT INTO message (id, at, tries, body)
        SELECT CAST(j.key AS INTEGER), ?, 0, substr(?, (j.value >> 24) + 1, j.value & 16777215)
        FROM json_each(?) AS j;
    DELETE FROM message WHERE id IN
        (SELECT m.id FROM json_each(?) AS r CROSS JOIN message AS m
         WHERE m.id BETWEEN CAST(r.key AS INTEGER) AND r.value);
    UPDATE queue SET delivered = j.value FROM json_each(?) AS j WHERE number = CAST(j.key AS INTEGER);
    COMMIT;
";

/// What one group commit changes.
pub(super) struct Flow {
    /// The new messages' bodies, one after the other.
    pub(super) bodies: Vec<u8>,
    /// JSON object: row id → offset in `bodies` << `LENGTH_BITS` | length.
    pub(super) index: String,
    /// When they came.
    pub(super) at: UnixMillis,
    /// JSON object of row ids acknowledged: disjoint ranges, first → last.
    pub(super) acknowledged: String,
    /// JSON object: queue number → highest number delivered.
    pub(super) marks: String,
}

/// A queue as the database knows it.
pub(super) struct Found {
    pub(super) number: i64,
    /// The first and last number in it; (1, 0) if it is empty.
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) ready: u64,
}

/// The writing connection. It is opened anew after every failure: whatever a failed transaction left
/// behind goes with the connection.
pub(super) struct Store {
    path: PathBuf,
    connection: Option<SqliteConnection>,
}

/// How every connection to the file is made.
pub(super) fn connect_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A confirm is a promise about a power cut: the log is synced at every commit.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_millis(LOCK_WAIT_MS_MAX))
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .pragma("journal_size_limit", LOG_BYTES_MAX.to_string())
        .disable_statement_logging()
}

impl Store {
    /// A store on the file, not opened yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), connection: None }
    }

    /// Makes sure there is a connection; true if it is a new one.
    pub(super) async fn open(&mut self) -> Result<bool, sqlx::Error> {
        if self.connection.is_some() {
            return Ok(false);
        }
        let options = connect_options(&self.path).pragma("cache_size", format!("-{CACHE_KIB}"));
        let mut connection = options.connect().await?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
        self.connection = Some(connection);
        Ok(true)
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Commits a group: new messages, acknowledgements and marks, all or nothing. Safe on disk when
    /// this returns.
    pub(super) async fn commit(&mut self, flow: Flow) -> Result<(), sqlx::Error> {
        let done = commit_flow(self.connection()?, flow).await;
        self.keep_if(done)
    }

    /// Moves messages to the dead letters, and trims those to `letters_max` a cause.
    pub(super) async fn dead_letter(
        &mut self,
        rows: &[(i64, Cause)],
        now: UnixMillis,
        letters_max: u64,
    ) -> Result<(), sqlx::Error> {
        let done = bury_rows(self.connection()?, rows, now, letters_max).await;
        self.keep_if(done)
    }

    /// The queue number a dead letter came from.
    pub(super) async fn died_in(&mut self, letter: i64) -> Result<Option<i64>, sqlx::Error> {
        let done = sqlx::query_scalar("SELECT queue FROM dead WHERE id = ?1")
            .bind(letter)
            .fetch_optional(self.connection()?)
            .await;
        self.keep_if(done)
    }

    /// Puts a dead letter back as the message `row`, in one transaction; its body.
    pub(super) async fn replay(
        &mut self,
        letter: i64,
        row: i64,
        now: UnixMillis,
    ) -> Result<Vec<u8>, sqlx::Error> {
        let done = replay_letter(self.connection()?, letter, row, now).await;
        self.keep_if(done)
    }

    /// How many messages a queue has beyond `seq`, and the last one's number.
    pub(super) async fn beyond(&mut self, queue: i64, seq: i64) -> Result<(u64, i64), sqlx::Error> {
        let base = row_base(queue);
        let done: Result<(i64, Option<i64>), _> =
            sqlx::query_as("SELECT count(*), max(id) FROM message WHERE id > ?1 AND id < ?2")
                .bind(base + seq)
                .bind(row_base(queue + 1))
                .fetch_one(self.connection()?)
                .await;
        let (count, last) = self.keep_if(done)?;
        Ok((u64::try_from(count).unwrap_or(0), last.map_or(seq, |id| id - base)))
    }

    /// Dead letters of a cause.
    pub(super) async fn letters(&mut self, cause: Cause) -> Result<u64, sqlx::Error> {
        let done = sqlx::query_scalar("SELECT count(*) FROM dead WHERE cause = ?1")
            .bind(cause.as_str())
            .fetch_one(self.connection()?)
            .await;
        self.keep_if(done).map(|n: i64| u64::try_from(n).unwrap_or(0))
    }

    /// Writes what is known of deliveries when nothing is in flight, so that the next opening need not
    /// guess: `tries` by row id, and no marks.
    pub(super) async fn settle(&mut self, queue: i64, tries: &[(i64, u32)]) -> Result<(), sqlx::Error> {
        let done = settle_tries(self.connection()?, queue, tries).await;
        self.keep_if(done)
    }

    /// Registers the queues and finds what is in them. Messages that may have been delivered before
    /// count one try more from now on.
    pub(super) async fn load(&mut self, lanes: u16, names: &[String]) -> Result<Vec<Found>, QueueError> {
        let connection = self.connection().map_err(|e| unreachable_for(&e))?;
        check_lanes(connection, lanes).await?;
        load_queues(connection, names).await.map_err(|e| unreachable_for(&e))
    }

    /// Folds the log into the database and closes the file.
    pub(super) async fn close(mut self) -> Result<(), sqlx::Error> {
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
        connection.close().await
    }

    fn keep_if<T>(&mut self, done: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if done.is_err() {
            self.connection = None;
        }
        done
    }
}

/// A storage error as the ports tell it.
pub(super) fn unreachable_for(error: &sqlx::Error) -> QueueError {
    QueueError::Unreachable(error.to_string())
}

async fn begin(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(connection).await.map(drop)
}

async fn commit(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("COMMIT").execute(connection).await.map(drop)
}

async fn commit_flow(connection: &mut SqliteConnection, flow: Flow) -> Result<(), sqlx::Error> {
    sqlx::query(GROUP)
        .bind(flow.at.0)
        .bind(flow.bodies)
        .bind(flow.index)
        .bind(flow.acknowledged)
        .bind(flow.marks)
        .execute(connection)
        .await
        .map(drop)
}

async fn bury_rows(
    connection: &mut SqliteConnection,
    rows: &[(i64, Cause)],
    now: UnixMillis,
    letters_max: u64,
) -> Result<(), sqlx::Error> {
    begin(connection).await?;
    for cause in Cause::ALL {
        let ids: Vec<i64> = rows.iter().filter(|(_, c)| *c == cause).map(|(row, _)| *row).collect();
        if ids.is_empty() {
            continue;
        }
        sqlx::query(
            "INSERT INTO dead (cause, queue, died_at, body)
             SELECT ?2, id >> 48, ?3, body FROM message WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",
        )
        .bind(json(&ids))
        .bind(cause.as_str())
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
        sqlx::query("DELETE FROM message WHERE id IN (SELECT value FROM json_each(?1))")
            .bind(json(&ids))
            .execute(&mut *connection)
            .await?;
        trim_letters(connection, cause, letters_max).await?;
    }
    commit(connection).await
}

async fn trim_letters(
    connection: &mut SqliteConnection,
    cause: Cause,
    letters_max: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM dead WHERE id IN (SELECT id FROM dead WHERE cause = ?1 ORDER BY id LIMIT
         max(0, (SELECT count(*) FROM dead WHERE cause = ?1) - ?2))",
    )
    .bind(cause.as_str())
    .bind(i64::try_from(letters_max).unwrap_or(i64::MAX))
    .execute(connection)
    .await
    .map(drop)
}

async fn replay_letter(
    connection: &mut SqliteConnection,
    letter: i64,
    row: i64,
    now: UnixMillis,
) -> Result<Vec<u8>, sqlx::Error> {
    begin(connection).await?;
    let body = sqlx::query_scalar(
        "INSERT INTO message (id, at, tries, body) SELECT ?2, ?3, 0, body FROM dead WHERE id = ?1
         RETURNING body",
    )
    .bind(letter)
    .bind(row)
    .bind(now.0)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM dead WHERE id = ?1").bind(letter).execute(&mut *connection).await?;
    commit(connection).await?;
    Ok(body)
}

async fn settle_tries(
    connection: &mut SqliteConnection,
    queue: i64,
    tries: &[(i64, u32)],
) -> Result<(), sqlx::Error> {
    begin(connection).await?;
    sqlx::query(
        "UPDATE message SET tries = j.value FROM json_each(?1) AS j WHERE message.id = CAST(j.key AS INTEGER)",
    )
    .bind(json_object(tries))
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE queue SET delivered = 0 WHERE number = ?1")
        .bind(queue)
        .execute(&mut *connection)
        .await?;
    commit(connection).await
}

/// A sale's lane follows from the number of lanes: another number would split a sale's messages over
/// two lanes, and break their order.
async fn check_lanes(connection: &mut SqliteConnection, lanes: u16) -> Result<(), QueueError> {
    let failed = |e| unreachable_for(&e);
    let before: Option<i64> = sqlx::query_scalar("SELECT value FROM settings WHERE name = 'lanes'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    if before == Some(i64::from(lanes)) {
        return Ok(());
    }
    let left: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM queue JOIN message ON message.id >> 48 = queue.number
         WHERE queue.name LIKE 'seckill.orders.%'",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    if let (Some(before), 1..) = (before, left) {
        return Err(QueueError::Refused(format!(
            "{lanes} lanes are asked for, but {left} messages wait in {before} lanes: let them drain first"
        )));
    }
    sqlx::query("INSERT OR REPLACE INTO settings (name, value) VALUES ('lanes', ?1)")
        .bind(i64::from(lanes))
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

async fn load_queues(connection: &mut SqliteConnection, names: &[String]) -> Result<Vec<Found>, sqlx::Error> {
    begin(connection).await?;
    sqlx::query(
        "UPDATE message SET tries = tries + 1 FROM queue
         WHERE message.id > queue.number << 48 AND message.id <= (queue.number << 48) + queue.delivered",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE queue SET delivered = 0").execute(&mut *connection).await?;
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        sqlx::query("INSERT OR IGNORE INTO queue (name) VALUES (?1)")
            .bind(name)
            .execute(&mut *connection)
            .await?;
        let number: i64 = sqlx::query_scalar("SELECT number FROM queue WHERE name = ?1")
            .bind(name)
            .fetch_one(&mut *connection)
            .await?;
        let (ready, first, last): (i64, Option<i64>, Option<i64>) =
            sqlx::query_as("SELECT count(*), min(id), max(id) FROM message WHERE id > ?1 AND id < ?2")
                .bind(row_base(number))
                .bind(row_base(number + 1))
                .fetch_one(&mut *connection)
                .await?;
        debug_assert!(first.is_none_or(|id| queue_of_row(id) == number), "a row belongs to its queue");
        found.push(Found {
            number,
            first: first.map_or(1, |id| id - row_base(number)),
            last: last.map_or(0, |id| id - row_base(number)),
            ready: u64::try_from(ready).unwrap_or(0),
        });
    }
    commit(connection).await?;
    Ok(found)
}

fn json(rows: &[i64]) -> String {
    serde_json::to_string(rows).expect("integers are JSON")
}

#[cfg(test)]
mod tests {
    use super::super::group::LENGTH_BITS;
    use super::*;

    #[test]
    fn the_statement_takes_an_index_entry_apart_as_it_was_put_together() {
        let (offset, length) =
            (format!("(j.value >> {LENGTH_BITS})"), format!("j.value & {}", (1 << LENGTH_BITS) - 1));
        assert!(GROUP.contains(&offset) && GROUP.contains(&length), "{offset}, {length}");
    }

    #[tokio::test]
    async fn the_writing_connection_syncs_its_log_at_every_commit() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::new(&folder.path().join("q.db"));
        store.open().await.unwrap();
        let connection = store.connection().unwrap();
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await.unwrap();
        let journal: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.unwrap();
        assert_eq!((synchronous, journal.as_str()), (2, "wal"), "2 is FULL");
        store.close().await.unwrap();
    }
}
