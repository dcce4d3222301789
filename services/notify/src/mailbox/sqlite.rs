//! The sandbox mailbox in SQLite.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use contract::events::{Channel, Notice, Priority};
use domain::{BuyerId, UnixMillis};
use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Row, SqlitePool};

use super::{Mailbox, MailboxError, NOTICES_MAX};

/// How long a write waits for the database's other writers.
const BUSY_WAIT_MS_MAX: u64 = 10_000;

pub(super) struct SqliteMailbox {
    pool: SqlitePool,
}

/// A row on its way into one multi-row insert.
#[derive(Serialize)]
struct NewRow<'a> {
    id: &'a str,
    channel: &'a str,
    priority: &'a str,
    buyer: &'a str,
    order_id: String,
    subject: &'a str,
    body: &'a str,
    created_at: i64,
}

impl SqliteMailbox {
    pub(super) async fn open(path: &Path) -> Result<Self, MailboxError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_millis(BUSY_WAIT_MS_MAX))
            .pragma("cache_size", "-1024");
        let pool = parts::sqlite_pool().max_connections(2).connect_with(options).await?;
        let mut migrator = sqlx::migrate!("migrations/sqlite");
        migrator.dangerous_set_table_name("notify_migrations");
        migrator.run(&pool).await.map_err(|e| MailboxError::Unavailable(e.to_string()))?;
        Ok(Self { pool })
    }
}

#[async_trait]
impl Mailbox for SqliteMailbox {
    async fn deliver(&self, notices: &[Notice]) -> Result<(), MailboxError> {
        let rows: Vec<NewRow<'_>> = notices
            .iter()
            .map(|n| NewRow {
                id: &n.id,
                channel: n.channel.as_str(),
                priority: n.priority.as_str(),
                buyer: n.buyer.as_str(),
                order_id: n.order_id.to_string(),
                subject: &n.subject,
                body: &n.body,
                created_at: n.created_at.0,
            })
            .collect();
        let rows = serde_json::to_string(&rows).map_err(|e| MailboxError::Refused(e.to_string()))?;
        let mut tx = self.pool.begin_with("begin immediate").await?;
        sqlx::query(
            "insert into notify_mailbox (id, channel, priority, buyer, order_id, subject, body, created_at)
             select value ->> 'id', value ->> 'channel', value ->> 'priority', value ->> 'buyer',
                    value ->> 'order_id', value ->> 'subject', value ->> 'body', value ->> 'created_at'
             from json_each(?) where true
             on conflict (id) do nothing",
        )
        .bind(rows)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "delete from notify_mailbox where id in (
                 select id from notify_mailbox order by created_at
                 limit max(0, (select count(*) from notify_mailbox) - ?))",
        )
        .bind(NOTICES_MAX)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn of_buyer(&self, buyer: &BuyerId, limit: u32) -> Result<Vec<Notice>, MailboxError> {
        let rows = sqlx::query(
            "select * from notify_mailbox where buyer = ? order by created_at desc, id desc limit ?",
        )
        .bind(buyer.as_str())
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| parse(row, buyer)).collect()
    }
}

fn parse(row: &sqlx::sqlite::SqliteRow, buyer: &BuyerId) -> Result<Notice, MailboxError> {
    let text = |column| row.try_get::<String, _>(column).map_err(MailboxError::from);
    let bad = |what: &str| MailboxError::Refused(format!("a row with a bad {what}"));
    let (channel, priority) = (text("channel")?, text("priority")?);
    let channel = Channel::ALL.into_iter().find(|c| c.as_str() == channel).ok_or_else(|| bad("channel"))?;
    let priority =
        Priority::ALL.into_iter().find(|p| p.as_str() == priority).ok_or_else(|| bad("priority"))?;
    Ok(Notice {
        id: text("id")?,
        channel,
        priority,
        buyer: buyer.clone(),
        order_id: text("order_id")?.parse().map_err(|_| bad("order id"))?,
        subject: text("subject")?,
        body: text("body")?,
        created_at: UnixMillis(row.try_get("created_at")?),
    })
}
