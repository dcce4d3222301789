//! The snapshot of a sale for rebuilding its stock state: one read transaction, sent in pages.

use contract::internal::{LiveOrder, SnapshotLine};
use domain::{ReservationId, SaleId};
use futures_util::StreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, SqlitePool};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::rows;
use crate::order_store::{SnapshotLines, StoreError};

/// Live orders in one line.
const LINE_ORDERS_MAX: u32 = 500;
/// Lines read ahead of the reader.
const LINES_AHEAD_MAX: usize = 4;

/// A page: the sale's live orders above an id, from their own index, which wants to hear of the quantity. Named,
/// because where somebody had the file analysed, the planner of an older SQLite prefers to walk the key of all orders.
pub(super) const PAGE: &str = "select id, late, buyer, quantity from orders indexed by orders_live
     where sale = ?1 and id > ?2 and status in ('pending_payment', 'paid') and quantity > 0
     order by id limit ?3";

/// The sale's allocation and live orders at one moment; `None` without an allocation. The
/// transaction ends when all is read, or when the reader goes away.
pub(super) async fn open(pool: &SqlitePool, sale: SaleId) -> Result<Option<SnapshotLines>, StoreError> {
    let mut tx = pool.begin().await?;
    let Some(head) = head(&mut tx, &sale).await? else { return Ok(None) };
    let (lines, reader) = mpsc::channel(LINES_AHEAD_MAX);
    tokio::spawn(async move {
        if lines.send(Ok(head)).await.is_err() {
            return;
        }
        let last = match send_live(&mut tx, &sale, &lines).await {
            Ok(true) => Ok(SnapshotLine::End),
            Ok(false) => return,
            Err(error) => Err(error),
        };
        // A reader that left needs no end.
        drop(lines.send(last).await);
    });
    Ok(Some(ReceiverStream::new(reader).boxed()))
}

async fn head(conn: &mut SqliteConnection, sale: &SaleId) -> Result<Option<SnapshotLine>, StoreError> {
    let row = sqlx::query("select * from allocations where sale = ?1")
        .bind(sale.as_str())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let a = rows::allocation(&row)?;
    Ok(Some(SnapshotLine::Head {
        epoch: a.guard.epoch,
        total: a.guard.total,
        total_version: a.total_version,
        taken: a.guard.taken,
    }))
}

/// Sends every live order; false if the reader went away.
async fn send_live(
    conn: &mut SqliteConnection,
    sale: &SaleId,
    lines: &mpsc::Sender<Result<SnapshotLine, StoreError>>,
) -> Result<bool, StoreError> {
    let mut above = Vec::new();
    loop {
        let page = sqlx::query(PAGE)
            .bind(sale.as_str())
            .bind(&above)
            .bind(LINE_ORDERS_MAX)
            .fetch_all(&mut *conn)
            .await?;
        let Some(last) = page.last() else { return Ok(true) };
        above = rows::key(rows::order_id(last, "id")?);
        let live = page.iter().map(live_order).collect::<Result<_, _>>()?;
        if lines.send(Ok(SnapshotLine::Live(live))).await.is_err() {
            return Ok(false);
        }
    }
}

fn live_order(row: &SqliteRow) -> Result<LiveOrder, StoreError> {
    let order = rows::order_id(row, "id")?;
    Ok(LiveOrder {
        reservation: ReservationId { order, late: row.try_get("late")? },
        buyer: rows::text(row, "buyer")?,
        quantity: rows::number(row, "quantity")?,
    })
}
