//! The sandbox mailbox in Postgres, for any number of replicas of notify.

use async_trait::async_trait;
use contract::events::{Channel, Notice, Priority};
use domain::{BuyerId, UnixMillis};
use service_kit::postgres::{self, Work, call};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPool, PgRow};

use super::{Mailbox, MailboxError, NOTICES_MAX};

/// Connections at most.
const CONNECTIONS_MAX: u32 = 4;
/// Old notices that give way in one delivery at most: more than come in one.
const REMOVED_MAX: i64 = 2_000;

pub(super) struct PostgresMailbox {
    pool: PgPool,
}

impl PostgresMailbox {
    pub(super) async fn open(url: &str) -> Result<Self, MailboxError> {
        let mut migrator = sqlx::migrate!("migrations/postgres");
        migrator.dangerous_set_table_name("notify_migrations");
        let opened = postgres::open(url, CONNECTIONS_MAX, "notify", &migrator).await;
        Ok(Self { pool: opened.map_err(|e| MailboxError::Unavailable(e.to_string()))? })
    }

    async fn call<T, F>(&self, work: F) -> Result<T, MailboxError>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, MailboxError>,
    {
        call(&self.pool, work).await
    }
}

#[async_trait]
impl Mailbox for PostgresMailbox {
    async fn deliver(&self, notices: &[Notice]) -> Result<(), MailboxError> {
        // In the order of their ids: two replicas that deliver the same ones do not wait in a ring.
        let mut notices: Vec<&Notice> = notices.iter().collect();
        notices.sort_by(|a, b| a.id.cmp(&b.id));
        let column = |of: fn(&Notice) -> String| notices.iter().map(|n| of(n)).collect::<Vec<_>>();
        let insert = sqlx::query(
            "insert into notify_mailbox (id, channel, priority, buyer, order_id, subject, body, created_at)
             select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                 $7::text[], $8::bigint[])
             on conflict (id) do nothing",
        )
        .bind(column(|n| n.id.clone()))
        .bind(column(|n| n.channel.as_str().into()))
        .bind(column(|n| n.priority.as_str().into()))
        .bind(column(|n| n.buyer.to_string()))
        .bind(column(|n| n.order_id.to_string()))
        .bind(column(|n| n.subject.clone()))
        .bind(column(|n| n.body.clone()))
        .bind(notices.iter().map(|n| n.created_at.0).collect::<Vec<_>>());
        let remove = sqlx::query(
            "delete from notify_mailbox where seq = any(array(
                 select seq from notify_mailbox where seq <= (select max(seq) from notify_mailbox) - $1
                 order by seq limit $2
                 for update skip locked))",
        )
        .bind(NOTICES_MAX)
        .bind(REMOVED_MAX);
        self.call(|conn| {
            Box::pin(async move {
                insert.execute(&mut *conn).await?;
                remove.execute(conn).await?;
                Ok(())
            })
        })
        .await
    }

    async fn of_buyer(&self, buyer: &BuyerId, limit: u32) -> Result<Vec<Notice>, MailboxError> {
        let query = sqlx::query(
            "select id, channel, priority, order_id, subject, body, created_at from notify_mailbox
             where buyer = $1 order by created_at desc, id desc limit $2",
        )
        .bind(buyer.to_string())
        .bind(i64::from(limit));
        let rows = self.call(|conn| Box::pin(async { Ok(query.fetch_all(conn).await?) })).await?;
        rows.iter().map(|row| parse(row, buyer)).collect()
    }
}

fn parse(row: &PgRow, buyer: &BuyerId) -> Result<Notice, MailboxError> {
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
