//! The snapshot of a sale for rebuilding its stock state: one repeatable read, sent in pages.

use std::time::Duration;

use contract::internal::{LiveOrder, SnapshotLine};
use domain::{ReservationId, SaleId};
use futures_util::StreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, PgPool, Row};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{allocations, rows};
use crate::order_store::{SnapshotLines, StoreError};

/// Live orders in one line.
const LINE_ORDERS_MAX: i64 = 500;
/// Lines read ahead of the reader.
const LINES_AHEAD_MAX: usize = 4;
/// How long a snapshot may take, its reader included, in milliseconds.
const SNAPSHOT_MS_MAX: u64 = 60_000;
/// Opens the transaction. The reader may stand between two pages for longer than a writer may.
const BEGIN: &str = "begin isolation level repeatable read read only;
    set local idle_in_transaction_session_timeout = 60000; set local statement_timeout = 60000";

/// A page: the sale's live orders above an id.
///
/// Nothing but `orders_live` answers it in this order, whatever the planner believes about the tables. With `sale = $1`
/// it could also walk the key of all orders, or begin every page at the sale's first one.
pub(super) const PAGE: &str = "select id, late, buyer, quantity from orders
     where (sale, id) > ($1, $2) and sale <= $1 and status in ('pending_payment', 'paid') and quantity > 0
     order by sale, id limit $3";

type Line = Result<SnapshotLine, StoreError>;

/// The sale's allocation and live orders at one moment; `None` without an allocation. The
/// transaction ends when all is read, or when the reader goes away.
pub(super) async fn open(pool: &PgPool, sale: SaleId) -> Result<Option<SnapshotLines>, StoreError> {
    let mut conn = pool.acquire().await?;
    let (lines, reader) = mpsc::channel(LINES_AHEAD_MAX);
    let (started, head) = oneshot::channel();
    tokio::spawn(async move {
        let within = Duration::from_millis(SNAPSHOT_MS_MAX);
        let done = tokio::time::timeout(within, send(&mut conn, &sale, started, &lines)).await;
        let failed = match done {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => {
                conn.close_on_drop();
                StoreError::Unavailable(format!("the snapshot took longer than {SNAPSHOT_MS_MAX} ms"))
            }
        };
        // A reader that left needs no answer; one that stands still finds the stream cut off.
        drop(lines.try_send(Err(failed)));
    });
    let gone = |_| StoreError::Unavailable("the snapshot ended before it began".into());
    Ok(head.await.map_err(gone)?.then(|| ReceiverStream::new(reader).boxed()))
}

/// Sends the head, once it is known that there is one, and every live order.
async fn send(
    conn: &mut PgConnection,
    sale: &SaleId,
    started: oneshot::Sender<bool>,
    lines: &mpsc::Sender<Line>,
) -> Result<(), StoreError> {
    let mut tx = conn.begin_with(BEGIN).await?;
    let Some(a) = allocations::find(&mut tx, sale).await? else {
        let _ = started.send(false);
        return Ok(());
    };
    let _ = started.send(true);
    let head = SnapshotLine::Head {
        epoch: a.guard.epoch,
        total: a.guard.total,
        total_version: a.total_version,
        taken: a.guard.taken,
    };
    let mut here = lines.send(Ok(head)).await.is_ok();
    let mut above = Uuid::nil();
    while here {
        let page = sqlx::query(PAGE)
            .bind(sale.as_str())
            .bind(above)
            .bind(LINE_ORDERS_MAX)
            .fetch_all(&mut *tx)
            .await?;
        let Some(last) = page.last() else { break };
        above = last.try_get("id")?;
        let live = page.iter().map(live_order).collect::<Result<_, _>>()?;
        here = lines.send(Ok(SnapshotLine::Live(live))).await.is_ok();
    }
    drop(lines.send(Ok(SnapshotLine::End)).await);
    Ok(())
}

fn live_order(row: &PgRow) -> Result<LiveOrder, StoreError> {
    let order = rows::order_id(row, "id")?;
    Ok(LiveOrder {
        reservation: ReservationId { order, late: row.try_get("late")? },
        buyer: rows::text(row, "buyer")?,
        quantity: rows::number(row, "quantity")?,
    })
}
