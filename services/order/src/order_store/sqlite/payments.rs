//! Money comes in. A capture ends in exactly one of three ways: it pays its order, it waits for
//! units as a late payment, or it is paid back by one refund.

use async_trait::async_trait;
use contract::events::EventKind;
use domain::{BuyerId, OrderId, OrderStatus};

use super::{ledger_tx::LedgerTx, reads, rows, transitions, writer::Write};
use crate::order_store::{
    Capture, CaptureOutcome, OrderRecord, PaymentBegun, PaymentFailure, Provenance, StoreError, rules,
};

pub(super) struct BeginPayment {
    pub(super) id: OrderId,
    pub(super) buyer: BuyerId,
}

#[async_trait]
impl Write for BeginPayment {
    type Out = PaymentBegun;

    async fn run(&self, tx: &mut LedgerTx) -> Result<PaymentBegun, StoreError> {
        let order = match reads::order(tx.conn(), self.id).await? {
            Some(order) if order.buyer == self.buyer => order,
            _ => return Ok(PaymentBegun::NotFound),
        };
        if order.status != OrderStatus::PendingPayment || order.pay_by <= tx.now {
            return Ok(PaymentBegun::NotPayable(order.status));
        }
        let made = sqlx::query(
            "select count(*) as n, max(case when status = 'started' then reference end) as under_way
             from payments where order_id = ?1",
        )
        .bind(rows::key(self.id))
        .fetch_one(tx.conn())
        .await?;
        let under_way: Option<String> = sqlx::Row::try_get(&made, "under_way")?;
        if let Some(reference) = under_way {
            return Ok(PaymentBegun::UnderWay(order.charge(reference)));
        }
        let reference = format!("pay-{}-{}", order.id, rows::number::<u64>(&made, "n")? + 1);
        start(tx, &reference, &order).await?;
        Ok(PaymentBegun::Started(order.charge(reference)))
    }
}

async fn start(tx: &mut LedgerTx, reference: &str, order: &OrderRecord) -> Result<(), StoreError> {
    let now = tx.now;
    sqlx::query(
        "insert into payments (reference, order_id, amount_cents, currency, status, created_at, ask_at)
         values (?1, ?2, ?3, ?4, 'started', ?5, ?6)",
    )
    .bind(reference)
    .bind(rows::key(order.id))
    .bind(order.amount.cents)
    .bind(order.amount.currency.as_str())
    .bind(now.0)
    .bind(order.pay_by.plus(rules::UNREPORTED_AFTER_MS).0)
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) struct RecordCapture(pub(super) Capture);

#[async_trait]
impl Write for RecordCapture {
    type Out = CaptureOutcome;

    async fn run(&self, tx: &mut LedgerTx) -> Result<CaptureOutcome, StoreError> {
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
            Some(id) => reads::order(tx.conn(), id).await?,
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
    tx: &mut LedgerTx,
    capture: &Capture,
    order: Option<&OrderRecord>,
) -> Result<Option<Recorded>, StoreError> {
    let now = tx.now;
    let started = sqlx::query(
        "insert into payments (reference, order_id, amount_cents, currency, status, created_at)
         values (?1, ?2, ?3, ?4, 'captured', ?5)
         on conflict (reference) do update set status = 'captured', amount_cents = ?3, currency = ?4
           where payments.status <> 'captured'
         returning order_id",
    )
    .bind(&capture.reference)
    .bind(order.map(|o| rows::key(o.id)))
    .bind(capture.amount_cents)
    .bind(&capture.currency)
    .bind(now.0)
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = started else { return record_other_money(tx, capture, order).await };
    let started_for: Option<Vec<u8>> = sqlx::Row::try_get(&row, "order_id")?;
    let agrees = started_for == order.map(|o| rows::key(o.id));
    Ok(Some(Recorded { reference: capture.reference.clone(), agrees }))
}

/// The payment was captured before. The same money is the same capture, told again; other money is another capture,
/// and gets a row of its own: it too has to pay an order or go back.
async fn record_other_money(
    tx: &mut LedgerTx,
    capture: &Capture,
    order: Option<&OrderRecord>,
) -> Result<Option<Recorded>, StoreError> {
    let known = sqlx::query(
        "select count(*) as n, max(case when reference = ?1 then order_id end) as started_for,
             coalesce(max(amount_cents = ?2 and currency = ?3), 0) as has_this
         from payments where reference = ?1 or charge = ?1",
    )
    .bind(&capture.reference)
    .bind(capture.amount_cents)
    .bind(&capture.currency)
    .fetch_one(tx.conn())
    .await?;
    if sqlx::Row::try_get::<bool, _>(&known, "has_this")? {
        return Ok(None);
    }
    let reference = format!("{}+{}", capture.reference, rows::number::<u64>(&known, "n")?);
    let (now, order_id) = (tx.now, order.map(|o| rows::key(o.id)));
    sqlx::query(
        "insert into payments (reference, charge, order_id, amount_cents, currency, status, created_at)
         values (?1, ?2, ?3, ?4, ?5, 'captured', ?6)",
    )
    .bind(&reference)
    .bind(&capture.reference)
    .bind(&order_id)
    .bind(capture.amount_cents)
    .bind(&capture.currency)
    .bind(now.0)
    .execute(tx.conn())
    .await?;
    let started_for: Option<Vec<u8>> = sqlx::Row::try_get(&known, "started_for")?;
    Ok(Some(Recorded { reference, agrees: started_for == order_id }))
}

/// The pay race: one conditional update on the order's row.
async fn apply(
    tx: &mut LedgerTx,
    capture: &Capture,
    reference: &str,
    id: OrderId,
) -> Result<CaptureOutcome, StoreError> {
    let now = tx.now;
    let won = sqlx::query(
        "update orders set status = 'paid'
         where id = ?1
           and status = 'pending_payment'
           and (pay_by > ?2 or ?3)
         returning *",
    )
    .bind(rows::key(id))
    .bind(now.0)
    .bind(capture.provenance == Provenance::Asked)
    .fetch_optional(tx.conn())
    .await?;
    if let Some(row) = won {
        let order = rows::order(&row)?;
        tx.moved(&order, Some(OrderStatus::PendingPayment), OrderStatus::Paid).await?;
        tx.tell(EventKind::OrderPaid, &order).await?;
        set_outcome(tx, reference, "applied").await?;
        return Ok(CaptureOutcome::Paid);
    }
    // Overdue and not expired yet: the time is over all the same, and the units go back first.
    transitions::expire(tx, std::iter::once(id)).await?;
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

async fn wait_for_units(tx: &mut LedgerTx, reference: &str) -> Result<(), StoreError> {
    let now = tx.now;
    sqlx::query(
        "update payments set outcome = 'late', late_since = ?2, late_next_at = ?2 where reference = ?1",
    )
    .bind(reference)
    .bind(now.0)
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn set_outcome(
    tx: &mut LedgerTx,
    reference: &str,
    outcome: &'static str,
) -> Result<(), StoreError> {
    sqlx::query("update payments set outcome = ?2 where reference = ?1")
        .bind(reference)
        .bind(outcome)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Requests the one refund of a captured payment.
pub(super) async fn pay_back(
    tx: &mut LedgerTx,
    reference: &str,
    reason: &'static str,
) -> Result<CaptureOutcome, StoreError> {
    let now = tx.now;
    sqlx::query(
        "insert into refunds (reference, order_id, reason, status, amount_cents, currency, created_at, next_at)
         select reference, order_id, ?2, 'requested', amount_cents, currency, ?3, ?3
         from payments where reference = ?1 and status = 'captured'
         on conflict (reference) do nothing",
    )
    .bind(reference)
    .bind(reason)
    .bind(now.0)
    .execute(tx.conn())
    .await?;
    set_outcome(tx, reference, "refunded").await?;
    Ok(CaptureOutcome::Refunded(reason))
}

/// Pays back the payment that had paid this order.
pub(super) async fn pay_back_order(tx: &mut LedgerTx, id: OrderId) -> Result<(), StoreError> {
    let paid_by: Option<String> =
        sqlx::query_scalar("select reference from payments where order_id = ?1 and outcome = 'applied'")
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

    async fn run(&self, tx: &mut LedgerTx) -> Result<(), StoreError> {
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
            sqlx::query("update payments set status = 'failed' where reference = ?1 and status = 'started'")
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

/// Whether the event is new. The key and its effect are in one transaction.
async fn record_event(tx: &mut LedgerTx, event: &Event<'_>) -> Result<bool, StoreError> {
    let now = tx.now;
    let done = sqlx::query(
        "insert into payment_events (event_id, kind, reference, order_text, amount_cents, currency, received_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         on conflict (event_id) do nothing",
    )
    .bind(event.id)
    .bind(event.kind)
    .bind(event.reference)
    .bind(event.order)
    .bind(event.amount_cents)
    .bind(event.currency)
    .bind(now.0)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() > 0)
}
