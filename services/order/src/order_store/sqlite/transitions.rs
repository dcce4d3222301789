//! Cancel, expire, refund: one conditional update on one row each. Whoever changes the row has won;
//! the others see zero rows and look why.

use async_trait::async_trait;
use contract::events::EventKind;
use domain::{BuyerId, OrderId, OrderStatus};

use super::{ledger_tx::LedgerTx, payments, reads, rows, writer::Write};
use crate::order_store::rules;
use crate::order_store::{Cancelled, OrderRecord, Refunded, StoreError};

pub(super) struct Cancel {
    pub(super) id: OrderId,
    pub(super) buyer: BuyerId,
}

#[async_trait]
impl Write for Cancel {
    type Out = Cancelled;

    async fn run(&self, tx: &mut LedgerTx) -> Result<Cancelled, StoreError> {
        let now = tx.now;
        let won = sqlx::query(
            "update orders set status = 'cancelled'
             where id = ?1
               and buyer = ?2
               and status = 'pending_payment'
               and pay_by > ?3
             returning *",
        )
        .bind(rows::key(self.id))
        .bind(self.buyer.as_str())
        .bind(now.0)
        .fetch_optional(tx.conn())
        .await?;
        if let Some(row) = won {
            let order = rows::order(&row)?;
            soon_asked_about(tx, order.id).await?;
            tx.moved(&order, Some(OrderStatus::PendingPayment), OrderStatus::Cancelled).await?;
            tx.tell(EventKind::OrderCancelled, &order).await?;
            return Ok(Cancelled::Done(order));
        }
        match reads::order(tx.conn(), self.id).await? {
            Some(order) if order.buyer == self.buyer => Ok(Cancelled::NotCancellable(order.status)),
            _ => Ok(Cancelled::NotFound),
        }
    }
}

/// The provider is asked soon about a payment of this order that is under way: its money, if there is any, goes back, and
/// need not wait for the end of the time to pay.
async fn soon_asked_about(tx: &mut LedgerTx, id: OrderId) -> Result<(), StoreError> {
    let soon = tx.now.plus(rules::UNREPORTED_AFTER_MS).0;
    sqlx::query(
        "update payments set ask_at = min(coalesce(ask_at, ?2), ?2) where order_id = ?1 and status = 'started'",
    )
    .bind(rows::key(id))
    .bind(soon)
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) struct Expire(pub(super) Vec<OrderId>);

#[async_trait]
impl Write for Expire {
    type Out = u64;

    async fn run(&self, tx: &mut LedgerTx) -> Result<u64, StoreError> {
        Ok(expire(tx, self.0.iter().copied()).await?.len() as u64)
    }
}

/// Expires those of the orders that are unpaid and overdue, and gives their units back.
pub(super) async fn expire(
    tx: &mut LedgerTx,
    ids: impl Iterator<Item = OrderId>,
) -> Result<Vec<OrderRecord>, StoreError> {
    let (now, ids) = (tx.now, rows::ids_json(ids));
    let won = sqlx::query(
        "update orders set status = 'expired'
         where id in (select unhex(value) from json_each(?1))
           and status = 'pending_payment'
           and pay_by <= ?2
         returning *",
    )
    .bind(ids)
    .bind(now.0)
    .fetch_all(tx.conn())
    .await?;
    let mut expired = Vec::with_capacity(won.len());
    for row in won {
        let order = rows::order(&row)?;
        tx.moved(&order, Some(OrderStatus::PendingPayment), OrderStatus::Expired).await?;
        tx.tell(EventKind::OrderExpired, &order).await?;
        expired.push(order);
    }
    Ok(expired)
}

pub(super) struct Refund(pub(super) OrderId);

#[async_trait]
impl Write for Refund {
    type Out = Refunded;

    async fn run(&self, tx: &mut LedgerTx) -> Result<Refunded, StoreError> {
        let won = sqlx::query(
            "update orders set status = 'refunded'
             where id = ?1
               and status = 'paid'
             returning *",
        )
        .bind(rows::key(self.0))
        .fetch_optional(tx.conn())
        .await?;
        if let Some(row) = won {
            let order = rows::order(&row)?;
            tx.moved(&order, Some(OrderStatus::Paid), OrderStatus::Refunded).await?;
            tx.tell(EventKind::OrderRefunded, &order).await?;
            payments::pay_back_order(tx, order.id).await?;
            return Ok(Refunded::Done);
        }
        match reads::order(tx.conn(), self.0).await? {
            Some(order) => Ok(Refunded::NotRefundable(order.status)),
            None => Ok(Refunded::NotFound),
        }
    }
}
