//! Cancel, expire, refund: one conditional update on one row each. Whoever changes the row has won;
//! the others wait for them, see zero rows and look why.

use async_trait::async_trait;
use contract::events::EventKind;
use domain::{BuyerId, OrderId, OrderStatus};
use uuid::Uuid;

use super::errors::Fault;
use super::ledger_tx::LedgerTx;
use super::rows::{self, order_columns};
use super::{Write, payments, reads};
use crate::order_store::rules;
use crate::order_store::{Cancelled, OrderRecord, Refunded};

pub(super) struct Cancel {
    pub(super) id: OrderId,
    pub(super) buyer: BuyerId,
}

#[async_trait]
impl Write for Cancel {
    type Out = Cancelled;

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<Cancelled, Fault> {
        let won = sqlx::query(concat!(
            "update orders set status = 'cancelled'
             where id = $1
               and buyer = $2
               and status = 'pending_payment'
               and pay_by > seckill_now()
             returning ",
            order_columns!()
        ))
        .bind(rows::key(self.id))
        .bind(self.buyer.as_str())
        .fetch_optional(tx.conn())
        .await?;
        if let Some(row) = won {
            let order = rows::order(&row)?;
            soon_asked_about(tx, order.id).await?;
            tx.moved(&order, Some(OrderStatus::PendingPayment), OrderStatus::Cancelled);
            tx.tell(EventKind::OrderCancelled, &order);
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
async fn soon_asked_about(tx: &mut LedgerTx<'_>, id: OrderId) -> Result<(), Fault> {
    sqlx::query(
        "update payments set ask_at = least(ask_at, seckill_now() + $2)
         where order_id = $1 and status = 'started' and created_at > 0",
    )
    .bind(rows::key(id))
    .bind(rules::UNREPORTED_AFTER_MS)
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) struct Expire(pub(super) Vec<OrderId>);

#[async_trait]
impl Write for Expire {
    type Out = u64;

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<u64, Fault> {
        Ok(expire(tx, &self.0).await?.len() as u64)
    }
}

/// Expires those of the orders that are unpaid and overdue, and gives their units back. An order that
/// somebody else is changing is left to them: another replica's timeout job, or a payment that wins.
pub(super) async fn expire(tx: &mut LedgerTx<'_>, ids: &[OrderId]) -> Result<Vec<OrderRecord>, Fault> {
    let ids: Vec<Uuid> = ids.iter().copied().map(rows::key).collect();
    let won = sqlx::query(concat!(
        "update orders set status = 'expired'
         where id = any(array(
             select id from orders
             where id = any($1)
               and status = 'pending_payment'
               and pay_by <= (select seckill_now())
             for update skip locked))
         returning ",
        order_columns!()
    ))
    .bind(ids)
    .fetch_all(tx.conn())
    .await?;
    let mut expired = Vec::with_capacity(won.len());
    for row in won {
        let order = rows::order(&row)?;
        tx.moved(&order, Some(OrderStatus::PendingPayment), OrderStatus::Expired);
        tx.tell(EventKind::OrderExpired, &order);
        expired.push(order);
    }
    Ok(expired)
}

pub(super) struct Refund(pub(super) OrderId);

#[async_trait]
impl Write for Refund {
    type Out = Refunded;

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<Refunded, Fault> {
        let won = sqlx::query(concat!(
            "update orders set status = 'refunded'
             where id = $1
               and status = 'paid'
             returning ",
            order_columns!()
        ))
        .bind(rows::key(self.0))
        .fetch_optional(tx.conn())
        .await?;
        if let Some(row) = won {
            let order = rows::order(&row)?;
            tx.moved(&order, Some(OrderStatus::Paid), OrderStatus::Refunded);
            tx.tell(EventKind::OrderRefunded, &order);
            payments::pay_back_order(tx, order.id).await?;
            return Ok(Refunded::Done);
        }
        match reads::order(tx.conn(), self.0).await? {
            Some(order) => Ok(Refunded::NotRefundable(order.status)),
            None => Ok(Refunded::NotFound),
        }
    }
}
