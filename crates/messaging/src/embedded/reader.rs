//! Reading what waits in the database, on connections of its own: a consumer that catches up does not
//! hold back the writer.

use std::path::Path;
use std::time::Duration;

use contract::api::DeadLetter;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

use super::queue::{AHEAD_BYTES_MAX, Message, Queue};
use super::store::{connect_options, unreachable_for};
use crate::QueueError;

/// Reading connections at most.
const CONNECTIONS_MAX: u32 = 2;
/// Page cache of each, in KiB.
const CACHE_KIB: u32 = 1_024;
/// How long a reader waits for a connection, in milliseconds.
const CONNECTION_WAIT_MS_MAX: u64 = 2_000;
/// Messages read in one go.
const PAGE_MESSAGES_MAX: usize = 1_024;

/// The reading connections.
pub(super) struct Reader {
    pool: SqlitePool,
}

type Row = (i64, i64, i64, Vec<u8>);

impl Reader {
    /// Readers of the file; connected when first needed.
    pub(super) fn new(path: &Path) -> Self {
        let options = connect_options(path)
            .create_if_missing(false)
            .pragma("cache_size", format!("-{CACHE_KIB}"))
            .pragma("query_only", "1");
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(Duration::from_millis(CONNECTION_WAIT_MS_MAX))
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Self { pool }
    }

    /// The messages after `after` and up to `through`, in order: as many as one page holds. The number
    /// that was come to: `through` when there are no more.
    pub(super) async fn page(
        &self,
        queue: &Queue,
        after: i64,
        through: i64,
    ) -> Result<(Vec<Message>, i64), QueueError> {
        let mut rows = sqlx::query_as::<_, Row>(
            "SELECT id, at, tries, body FROM message WHERE id > ?1 AND id <= ?2 ORDER BY id",
        )
        .bind(queue.row(after))
        .bind(queue.row(through))
        .fetch(&self.pool);
        let mut messages = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.try_next().await.map_err(|e| unreachable_for(&e))? {
            let message = message(queue, row);
            bytes += message.body.len();
            let seq = message.seq;
            messages.push(message);
            if messages.len() >= PAGE_MESSAGES_MAX || bytes >= AHEAD_BYTES_MAX {
                return Ok((messages, seq));
            }
        }
        Ok((messages, through))
    }

    /// The messages with these numbers, in order.
    pub(super) async fn these(&self, queue: &Queue, seqs: &[i64]) -> Result<Vec<Message>, QueueError> {
        let ids: Vec<i64> = seqs.iter().map(|seq| queue.row(*seq)).collect();
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, at, tries, body FROM message WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",
        )
        .bind(serde_json::to_string(&ids).expect("integers are JSON"))
        .fetch_all(&self.pool)
        .await
        .map_err(|e| unreachable_for(&e))?;
        Ok(rows.into_iter().map(|row| message(queue, row)).collect())
    }

    /// The oldest dead letters. `names` gives a queue's name by its number.
    pub(super) async fn letters(
        &self,
        limit: usize,
        names: impl Fn(i64) -> String,
    ) -> Result<Vec<DeadLetter>, QueueError> {
        let rows: Vec<(i64, String, i64, i64, Vec<u8>)> =
            sqlx::query_as("SELECT id, cause, queue, died_at, body FROM dead ORDER BY id LIMIT ?1")
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(&self.pool)
                .await
                .map_err(|e| unreachable_for(&e))?;
        Ok(rows
            .into_iter()
            .map(|(id, reason, queue, died_at, body)| DeadLetter {
                id: id.to_string(),
                queue: names(queue),
                reason,
                died_at,
                body: String::from_utf8_lossy(&body).into_owned(),
            })
            .collect())
    }

    /// Closes the connections.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

fn message(queue: &Queue, (id, at, tries, body): Row) -> Message {
    Message { seq: id - queue.row(0), at, tries: u32::try_from(tries).unwrap_or(0), body }
}
