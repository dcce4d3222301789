//! Orders as the gateway asks for them: one, a buyer's, start a payment, cancel.

use axum::Json;
use axum::extract::{Path, Query, State};
use contract::Code;
use contract::api::{Order, OrderList, PaymentStarted};
use contract::internal::{OnBehalfOf, OrderRow};
use domain::BuyerId;
use serde::Deserialize;
use service_kit::http::{ApiError, StrictJson};

use super::{App, order_id, order_not_found};
use crate::order_store::{Cancelled, Charge, OrderRecord, PaymentBegun, StoreError, UnreportedFate};
use crate::provider_status::{Answer, ask};

/// Orders of a page when the caller does not say.
const PAGE_DEFAULT: u32 = 20;
/// Orders of a page at most.
const PAGE_MAX: u32 = 100;

/// Questions to the payment provider at once, for buyers who want to pay again: a storm of them must not become one there.
pub(super) const QUESTIONS_MAX: usize = 32;

/// A record as its buyer sees it.
pub(super) fn shown(record: &OrderRecord) -> Order {
    Order {
        order_id: record.id,
        sale: record.sale.clone(),
        quantity: record.quantity,
        amount_cents: record.amount.cents,
        currency: record.amount.currency.to_string(),
        status: record.status,
        created_at: record.created_at.0,
        pay_by: Some(record.pay_by.0),
    }
}

/// `GET /internal/v1/orders/{id}`.
pub(super) async fn one(State(app): State<App>, Path(id): Path<String>) -> Result<Json<OrderRow>, ApiError> {
    let record = app.store.order(order_id(&id)?).await?.ok_or_else(order_not_found)?;
    Ok(Json(OrderRow { order: shown(&record), buyer: record.buyer }))
}

/// Query of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<u32>,
}

/// `GET /internal/v1/buyers/{buyer}/orders?after=&limit=`.
pub(super) async fn list(
    State(app): State<App>,
    Path(buyer): Path<String>,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<OrderList>, ApiError> {
    let bad = |why: String| ApiError::new(Code::BadRequest, why);
    let Query(page) = page.map_err(|e| bad(format!("The query is not as documented: {e}.")))?;
    let buyer: BuyerId = buyer.parse().map_err(|e| bad(format!("The buyer {e}.")))?;
    let limit = page.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(bad(format!("limit must be 1 to {PAGE_MAX}.")));
    }
    let after = match page.after.as_deref() {
        None | Some("") => None,
        Some(id) => Some(id.parse().map_err(|e| bad(format!("after {e}.")))?),
    };
    // One more than asked for tells whether there is a next page.
    let mut records = app.store.orders_of(&buyer, after, limit + 1).await?;
    let more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next = records.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Json(OrderList { orders: records.iter().map(shown).collect(), next }))
}

/// `POST /internal/v1/orders/{id}/payment`.
pub(super) async fn pay(
    State(app): State<App>,
    Path(id): Path<String>,
    StrictJson(who): StrictJson<OnBehalfOf>,
) -> Result<Json<PaymentStarted>, ApiError> {
    let id = order_id(&id)?;
    let mut begun = app.store.begin_payment(id, &who.buyer).await?;
    if let PaymentBegun::UnderWay(charge) = &begun
        && has_ended(&app, charge).await?
    {
        begun = app.store.begin_payment(id, &who.buyer).await?;
    }
    let charge = match begun {
        PaymentBegun::Started(charge) | PaymentBegun::UnderWay(charge) => charge,
        PaymentBegun::NotPayable(status) => {
            let why = format!("The order is {status}, or its time to pay is over.");
            return Err(ApiError::new(Code::NotPayable, why));
        }
        PaymentBegun::NotFound => return Err(order_not_found()),
    };
    let payment_url = app.provider.open(&charge).await.map_err(|error| {
        tracing::warn!(%error, "a payment could not be opened");
        ApiError::new(Code::Unavailable, "The payment provider does not answer right now.")
    })?;
    Ok(Json(PaymentStarted { payment_url, reference: charge.reference }))
}

/// Whether a payment under way has come to its end at the provider, whose webhook is late or lost; the ledger knows then.
/// Without an answer it counts as under way.
async fn has_ended(app: &App, charge: &Charge) -> Result<bool, StoreError> {
    let Ok(_asking) = app.asking.try_acquire() else { return Ok(false) };
    match ask(&*app.provider, &charge.reference, charge.order).await {
        Ok(Answer::Captured(capture)) => {
            let outcome = app.store.record_capture(&capture).await?;
            tracing::info!(
                reference = charge.reference,
                ?outcome,
                "a capture was found before its webhook came"
            );
        }
        Ok(Answer::Failed) => app.store.decide_unreported(&charge.reference, UnreportedFate::Failed).await?,
        Ok(Answer::Open) | Err(_) => return Ok(false),
    }
    Ok(true)
}

/// `POST /internal/v1/orders/{id}/cancel`.
pub(super) async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    StrictJson(who): StrictJson<OnBehalfOf>,
) -> Result<Json<Order>, ApiError> {
    match app.store.cancel(order_id(&id)?, &who.buyer).await? {
        Cancelled::Done(record) => Ok(Json(shown(&record))),
        Cancelled::NotCancellable(status) => {
            let why = format!("The order is {status}, or its time to pay is over.");
            Err(ApiError::new(Code::NotCancellable, why))
        }
        Cancelled::NotFound => Err(order_not_found()),
    }
}
