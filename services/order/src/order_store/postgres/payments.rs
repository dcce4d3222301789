//! Money comes in. A capture ends in exactly one of three ways: it pays its order, it waits for
//! units as a late payment, or it is paid back by one refund.

use async_trait::async_trait;
use contract::events::EventKind;
use domain::{BuyerId, OrderId, OrderStatus};
use sqlx::Row;
use uuid::Uuid;

use super::errors::Fault;
use super::ledger_tx::LedgerTx;
use super::rows::{self, order_columns};
use super::{Write, reads, transitions};
use crate::order_store::{
    Capture, CaptureOutcome, OrderRecord, PaymentBegun, PaymentFailure, Provenance, rules,
};

pub(super) struct BeginPayment {
    pub(super) id: OrderId,
    pub(super) buyer: BuyerId,
}

#[async_trait]
impl Write for BeginPayment {
    type Out = PaymentBegun;

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<PaymentBegun, Fault> {
        // Locked: two clicks at once find the same payment, and none starts for an order that is leaving.
        let order = match reads::locked_order(tx.conn(), self.id).await? {
            Some(order) if order.buyer == self.buyer => order,
            _ => return Ok(PaymentBegun::NotFound),
        };
        let made = sqlx::query(
            "select seckill_now() as now, count(*) as n,
                 max(case when status = 'started' then reference end) as under_way
             from payments where order_id = $1",
        )
        .bind(rows::key(self.id))
        .fetch_one(tx.conn())
        .await?;
        if order.status != OrderStatus::PendingPayment || order.pay_by <= rows::millis(&made, "now")? {
            return Ok(PaymentBegun::NotPayable(order.status));
        }
        if let Some(reference) = made.try_get("under_way")? {
            return Ok(PaymentBegun::UnderWay(order.charge(reference)));
        }
        let reference = format!("pay-{}-{}", order.id, rows::number::<u64>(&made, "n")? + 1);
        start(tx, &reference, &order).await?;
        Ok(PaymentBegun::Started(order.charge(reference)))
    }
}

async fn start(tx: &mut LedgerTx<'_>, reference: &str, order: &OrderRecord) -> Result<(), Fault> {
    sqlx::query(
        "insert into payments (reference, order_id, amount_cents, currency, status, created_at, ask_at)
         values ($1, $2, $3, $4, 'started', seckill_now(), $5)",
    )
    .bind(reference)
    .bind(rows::key(order.id))
    .bind(order.amount.cents)
    .bind(order.amount.currency.as_str())
    .bind(order.pay_by.plus(rules::UNREPORTED_AFTER_MS).0)
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) struct RecordCapture(pub(super) Capture);

#[async_trait]
impl Write for RecordCapture {
    type Out = CaptureOutcome;

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<CaptureOutcome, Fault> {
        let capture = &self.0;
        if let Provenance::Webhook { event_id } = &capture.provenance {
            let event = Event {
                id: event_id,
                kind: "payment.succeeded",
                reference: &capture.reference,
                order: &capture.order,
                amount_cents: capture.amount_cents,
                currency: &capture.currency,
            };
            if !record_event(tx, &event).await? {
                return Ok(CaptureOutcome::Repeat);
            }
        }
        let named: Option<OrderId> = capture.order.parse().ok();
        let order = match named {
            Some(id) => reads::locked_order(tx.conn(), id).await?,
            None => None,
        };
        let Some(Recorded { reference, agrees }) = record_money(tx, capture, order.as_ref()).await? else {
            return Ok(CaptureOutcome::Repeat);
        };
        match order {
            None => pay_back(tx, &reference, "unknown_order").await,
            Some(_) if !agrees => pay_back(tx, &reference, "wrong_order").await,
            Some(order) if !same_money(capture, &order) => pay_back(tx, &reference, "wrong_amount").await,
            Some(order) => apply(tx, capture, &reference, order.id).await,
        }
    }
}

fn same_money(capture: &Capture, order: &OrderRecord) -> bool {
    capture.amount_cents == order.amount.cents && capture.currency == order.amount.currency.as_str()
}

/// A capture on record.
struct Recorded {
    /// Its row.
    reference: String,
    /// Whether the payment, if it was started here, was started for the order that the capture names.
    agrees: bool,
}

/// Records the capture. `None` if it is known already.
async fn record_money(
    tx: &mut LedgerTx<'_>,
    capture: &Capture,
    order: Option<&OrderRecord>,
) -> Result<Option<Recorded>, Fault> {
    let started = sqlx::query(
        "insert into payments (reference, order_id, amount_cents, currency, status, created_at)
         values ($1, $2, $3, $4, 'captured', seckill_now())
         on conflict (reference) do update set status = 'captured', amount_cents = $3, currency = $4
           where payments.status <> 'captured'
         returning order_id",
    )
    .bind(&capture.reference)
    .bind(order.map(|o| rows::key(o.id)))
    .bind(capture.amount_cents)
    .bind(&capture.currency)
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = started else { return record_other_money(tx, capture, order).await };
    let started_for: Option<Uuid> = row.try_get("order_id")?;
    let agrees = started_for == order.map(|o| rows::key(o.id));
    Ok(Some(Recorded { reference: capture.reference.clone(), agrees }))
}

/// The payment was captured before, and its row is locked since. The same money is the same capture, told again; other
/// money is another capture, and gets a row of its own: it too has to pay an order or go back.
async fn record_other_money(
    tx: &mut LedgerTx<'_>,
    capture: &Capture,
    order: Option<&OrderRecord>,
) -> Result<Option<Recorded>, Fault> {
    let started_for: Option<Uuid> =
        sqlx::query_scalar("select order_id from payments where reference = $1 for update")
            .bind(&capture.reference)
            .fetch_one(tx.conn())
            .await?;
    let known = sqlx::query(
        "select count(*) as n, bool_or(amount_cents = $2 and currency = $3) as has_this
         from payments where reference = $1 or charge = $1",
    )
    .bind(&capture.reference)
    .bind(capture.amount_cents)
    .bind(&capture.currency)
    .fetch_one(tx.conn())
    .await?;
    if known.try_get("has_this")? {
        return Ok(None);
    }
    let reference = format!("{}+{}", capture.reference, rows::number::<u64>(&known, "n")?);
    let order_id = order.map(|o| rows::key(o.id));
    sqlx::query(
        "insert into payments (reference, charge, order_id, amount_cents, currency, status, created_at)
         values ($1, $2, $3, $4, $5, 'captured', seckill_now())",
    )
    .bind(&reference)
    .bind(&capture.reference)
    .bind(order_id)
    .bind(capture.amount_cents)
    .bind(&capture.currency)
    .execute(tx.conn())
    .await?;
    Ok(Some(Recorded { reference, agrees: started_for == order_id }))
}

/// The pay race: one conditional update on the order's row.
async fn apply(
    tx: &mut LedgerTx<'_>,
    capture: &Capture,
    reference: &str,
    id: OrderId,
) -> Result<CaptureOutcome, Fault> {
    let won = sqlx::query(concat!(
        "update orders set status = 'paid'
         where id = $1
           and status = 'pending_payment'
           and (pay_by > seckill_now() or $2)
         returning ",
        order_columns!()
    ))
    .bind(rows::key(id))
    .bind(capture.provenance == Provenance::Asked)
    .fetch_optional(tx.conn())
    .await?;
    if let Some(row) = won {
        let order = rows::order(&row)?;
        tx.moved(&order, Some(OrderStatus::PendingPayment), OrderStatus::Paid);
        tx.tell(EventKind::OrderPaid, &order);
        set_outcome(tx, reference, "applied").await?;
        return Ok(CaptureOutcome::Paid);
    }
    // Overdue and not expired yet: the time is over all the same, and the units go back first.
    transitions::expire(tx, &[id]).await?;
    let status = reads::order(tx.conn(), id).await?.map(|o| o.status);
    match status {
        Some(OrderStatus::Expired) => {
            wait_for_units(tx, reference).await?;
            Ok(CaptureOutcome::Late)
        }
        Some(OrderStatus::Paid) => pay_back(tx, reference, "second_capture").await,
        _ => pay_back(tx, reference, "not_payable").await,
    }
}

async fn wait_for_units(tx: &mut LedgerTx<'_>, reference: &str) -> Result<(), Fault> {
    sqlx::query(
        "update payments set outcome = 'late', late_since = clock.now, late_next_at = clock.now
         from (select seckill_now() as now) clock where reference = $1",
    )
    .bind(reference)
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn set_outcome(
    tx: &mut LedgerTx<'_>,
    reference: &str,
    outcome: &'static str,
) -> Result<(), Fault> {
    sqlx::query("update payments set outcome = $2 where reference = $1")
        .bind(reference)
        .bind(outcome)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Requests the one refund of a captured payment.
pub(super) async fn pay_back(
    tx: &mut LedgerTx<'_>,
    reference: &str,
    reason: &'static str,
) -> Result<CaptureOutcome, Fault> {
    sqlx::query(
        "insert into refunds (reference, order_id, reason, status, amount_cents, currency, created_at, next_at)
         select reference, order_id, $2, 'requested', amount_cents, currency, clock.now, clock.now
         from payments, (select seckill_now() as now) clock where reference = $1 and status = 'captured'
         on conflict (reference) do nothing",
    )
    .bind(reference)
    .bind(reason)
    .execute(tx.conn())
    .await?;
    set_outcome(tx, reference, "refunded").await?;
    Ok(CaptureOutcome::Refunded(reason))
}

/// Pays back the payment that had paid this order.
pub(super) async fn pay_back_order(tx: &mut LedgerTx<'_>, id: OrderId) -> Result<(), Fault> {
    let paid_by: Option<String> =
        sqlx::query_scalar("select reference from payments where order_id = $1 and outcome = 'applied'")
            .bind(rows::key(id))
            .fetch_optional(tx.conn())
            .await?;
    if let Some(reference) = paid_by {
        pay_back(tx, &reference, "order_refunded").await?;
    }
    Ok(())
}

pub(super) struct RecordFailure(pub(super) PaymentFailure);

#[async_trait]
impl Write for RecordFailure {
    type Out = ();

    async fn run(&self, tx: &mut LedgerTx<'_>) -> Result<(), Fault> {
        let f = &self.0;
        let event = Event {
            id: &f.event_id,
            kind: "payment.failed",
            reference: &f.reference,
            order: &f.order,
            amount_cents: f.amount_cents,
            currency: &f.currency,
        };
        if record_event(tx, &event).await? {
            sqlx::query("update payments set status = 'failed' where reference = $1 and status = 'started'")
                .bind(&f.reference)
                .execute(tx.conn())
                .await?;
        }
        Ok(())
    }
}

struct Event<'a> {
    id: &'a str,
    kind: &'static str,
    reference: &'a str,
    order: &'a str,
    amount_cents: i64,
    currency: &'a str,
}

/// Whether the event is new. The key and its effect are in one transaction; the same event on another
/// replica waits here until that is decided.
async fn record_event(tx: &mut LedgerTx<'_>, event: &Event<'_>) -> Result<bool, Fault> {
    let done = sqlx::query(
        "insert into payment_events (event_id, kind, reference, order_text, amount_cents, currency, received_at)
         values ($1, $2, $3, $4, $5, $6, seckill_now())
         on conflict (event_id) do nothing",
    )
    .bind(event.id)
    .bind(event.kind)
    .bind(event.reference)
    .bind(event.order)
    .bind(event.amount_cents)
    .bind(event.currency)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() > 0)
}
