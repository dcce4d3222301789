//! One order's race: placed, payment begun, then everybody at the deadline.

use std::sync::Arc;
use std::time::Duration;

use contract::api::{AdminOrder, Order, PaymentStarted, WebhookEvent, WebhookKind};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Track;
use super::judge::Outcome;
use super::plan::Plan;
use crate::error::RunError;
use crate::http::{Call, body};
use crate::platform::{Operator, Placed, Shopper};
use crate::secret::webhook_signature;

/// Pause between two looks at an order.
const LOOK_PAUSE_MS: u64 = 100;
/// Longest time that an event is reported anew: its provider does not give up over an outage.
const REPORT_S_MAX: u64 = 120;
/// Looks at an order that stays queued.
const LOOKS_MAX: u32 = 100;
/// When after its cancel a ticket is sent again: before its release can have been heard of, and after.
const AGAIN_AFTER_MS: [i64; 4] = [0, 500, 1_000, 1_500];

/// What the actors did and were told.
#[derive(Clone, Debug, Default)]
pub(super) struct Race {
    /// The order.
    pub(super) order: String,
    /// Captures that the webhook took (200), repeats not counted.
    pub(super) captures: u32,
    /// Its repeats that the webhook took.
    pub(super) captures_again: u32,
    /// The first of them was reported after the deadline.
    pub(super) paid_late: bool,
    /// It was to be paid, and no payment could be started.
    pub(super) payment_refused: bool,
    /// The cancel was answered 200.
    pub(super) cancelled: bool,
    /// A webhook that was signed well was not answered 200.
    pub(super) webhook_refused: bool,
    /// Times that the ticket of the cancelled order was sent again, and answered.
    pub(super) clicks_again: u32,
    /// Those that were answered with the cancel.
    pub(super) told_cancelled: u32,
}

/// An order to race for.
struct Held {
    order: Order,
    pay_by: i64,
    ticket: String,
}

/// Runs a race; none when the order was not accepted or not committed in time to be raced.
pub(super) async fn race(track: Arc<Track>, n: u32, plan: Plan) -> Result<Option<Race>, RunError> {
    let mut shopper = track.platform.shopper();
    let buyer = format!("race-{}-{n}", track.tag);
    let token = shopper.token(&buyer).await?;
    let placed = {
        // Never closed, and waiting for it is no failure.
        let _turn = track.placing.acquire().await;
        place(&track, &mut shopper, &token).await?
    };
    let Some(held) = placed else { return Ok(None) };
    let (order, pay_by) = (&held.order, held.pay_by);
    let id = order.order_id.to_string();
    let payment = if plan.pay_at_ms.is_some() {
        let path = format!("/api/v1/orders/{id}/payment");
        shopper.reply(&Call::post(&path, &token, "")).await?.ok::<PaymentStarted>()
    } else {
        None
    };
    let payment_refused = plan.pay_at_ms.is_some() && payment.is_none();
    let mut other = track.platform.shopper();
    let (paid, cancelled) = tokio::join!(
        pay(&track, order, payment, plan, pay_by),
        cancel(&track, &mut other, &id, &token, plan.cancel_at_ms.map(|at| pay_by + at)),
    );
    let mut race = paid?;
    race.cancelled = cancelled?;
    race.payment_refused = payment_refused;
    if race.cancelled && track.click_again {
        click_again(&track, &held, &token, &mut race).await?;
    }
    race.order = id;
    Ok(Some(race))
}

async fn place(track: &Track, shopper: &mut Shopper, token: &str) -> Result<Option<Held>, RunError> {
    let Ok(issued) = shopper.ticket(&track.buy, token).await? else { return Ok(None) };
    let Placed::Accepted(id) = shopper.place(&track.buy, token, &issued.ticket, 1).await? else {
        return Ok(None);
    };
    for _ in 0..LOOKS_MAX {
        if let Ok(order) = shopper.order(&id, token).await?
            && let Some(pay_by) = order.pay_by
        {
            return Ok(Some(Held { order, pay_by, ticket: issued.ticket }));
        }
        tokio::time::sleep(Duration::from_millis(LOOK_PAUSE_MS)).await;
    }
    Err(RunError::Setup(format!("order {id} stays queued")))
}

async fn until(track: &Track, platform_ms: i64) {
    let wait_ms = platform_ms - track.offset_ms - track.clock.now_ms();
    tokio::time::sleep(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))).await;
}

async fn pay(
    track: &Track,
    order: &Order,
    payment: Option<PaymentStarted>,
    plan: Plan,
    pay_by: i64,
) -> Result<Race, RunError> {
    let mut race = Race::default();
    let (Some(payment), Some(at)) = (payment, plan.pay_at_ms) else { return Ok(race) };
    let reports = plan.reports(track.spread_ms).into_iter().map(|told| {
        let event = WebhookEvent {
            event_id: match told.kind {
                WebhookKind::Succeeded => format!("evt-{}", order.order_id),
                WebhookKind::Failed => format!("evt-{}-failed", order.order_id),
            },
            kind: told.kind,
            reference: payment.reference.clone(),
            order_id: order.order_id.to_string(),
            amount_cents: order.amount_cents,
            currency: order.currency.clone(),
        };
        async move {
            until(track, pay_by + at + told.after_ms).await;
            (told.kind, report(track, &event).await)
        }
    });
    for (kind, heard) in join_all(reports).await {
        let is_taken = heard?;
        race.webhook_refused |= !is_taken;
        if is_taken && kind == WebhookKind::Succeeded {
            race.captures_again += race.captures;
            race.captures = 1;
        }
    }
    race.paid_late = at > 0;
    Ok(race)
}

/// Reports an event until it is answered, as a provider does; whether the answer was 200. After each round of tries it is
/// signed anew: a signature grows old.
async fn report(track: &Track, event: &WebhookEvent) -> Result<bool, RunError> {
    let body = serde_json::to_string(event).unwrap_or_default();
    let give_up = Instant::now() + Duration::from_secs(REPORT_S_MAX);
    loop {
        let signature = webhook_signature(&track.webhook_secret, track.clock.now_ms() / 1000, &body);
        let call = Call {
            header: ("seckill-signature", &signature),
            ..Call::post("/api/v1/payments/webhook", "", &body)
        };
        // A round of tries that had no answer has taken its time.
        let told = track.provider.shopper().reply(&call).await;
        let is_answered = told.as_ref().is_ok_and(|reply| !matches!(reply.status, 429 | 503));
        if is_answered || Instant::now() >= give_up {
            return Ok(told?.status == 200);
        }
    }
}

async fn cancel(
    track: &Track,
    shopper: &mut Shopper,
    order: &str,
    token: &str,
    at: Option<i64>,
) -> Result<bool, RunError> {
    let Some(at) = at else { return Ok(false) };
    until(track, at).await;
    let path = format!("/api/v1/orders/{order}/cancel");
    Ok(shopper.reply(&Call::post(&path, token, "")).await?.status == 200)
}

/// Sends the ticket of a cancelled order again. Each connection may lead to another gateway, also to one that
/// has never seen the ticket.
async fn click_again(track: &Track, held: &Held, token: &str, race: &mut Race) -> Result<(), RunError> {
    let began = track.clock.now_ms() + track.offset_ms;
    let body = format!(r#"{{"ticket":"{}","quantity":{}}}"#, held.ticket, held.order.quantity);
    let path = format!("{}/orders", track.buy);
    for after_ms in AGAIN_AFTER_MS {
        until(track, began + after_ms).await;
        let reply = track.platform.shopper().reply(&Call::post(&path, token, &body)).await?;
        if reply.status == 202 {
            race.clicks_again += 1;
            race.told_cancelled +=
                u32::from(body::text(&reply.body, "status").as_deref() == Some("cancelled"));
        }
    }
    Ok(())
}

/// Reads an order until nothing is under way with it any more, or the deadline passes.
pub(super) async fn end(
    operator: &mut Operator<'_>,
    race: Race,
    deadline: Instant,
) -> Result<Outcome, RunError> {
    loop {
        let order: AdminOrder = operator.order(&race.order).await?;
        let outcome = Outcome { race: race.clone(), order };
        if outcome.is_settled() || Instant::now() >= deadline {
            return Ok(outcome);
        }
        tokio::time::sleep(Duration::from_millis(LOOK_PAUSE_MS)).await;
    }
}
