//! Operators' sales: create, look, change, hold, resume, end, restock.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use contract::Code;
use contract::api::{
    AdminSale, AdminSaleList, BUY_PREFIX, IDEMPOTENCY_KEY_HEADER, NewSale, Restock, Sale, SalePatch,
};
use contract::rules::SaleRules;
use domain::{Epoch, Phase, SaleId, StateInputs, UnixMillis};
use futures_util::{StreamExt, stream};
use service_kit::http::{ApiError, StrictJson};

use super::{App, sale_id};
use crate::sale_store::{Edit, IdempotencyKey, SaleRow};

/// Longest idempotency key, in bytes.
const KEY_LEN_MAX: usize = 128;

/// Sales of the list that are looked up in the stock store at once: a node of it that is silent must not keep the others.
const LOOKS_AT_ONCE: usize = 64;

/// `GET /internal/v1/admin/sales`.
pub(super) async fn list(State(app): State<App>) -> Result<Json<AdminSaleList>, ApiError> {
    let rows = app.inventory.sales.all().await?;
    let looks: Vec<_> = rows.iter().map(|row| shown(&app, row)).collect();
    let sales = stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await;
    Ok(Json(AdminSaleList { sales }))
}

/// `GET /internal/v1/admin/sales/{id}`.
pub(super) async fn one(State(app): State<App>, Path(id): Path<String>) -> Result<Json<AdminSale>, ApiError> {
    let row = app.inventory.sales.get(&sale_id(&id)?).await?;
    Ok(Json(shown(&app, &row).await))
}

/// `POST /internal/v1/admin/sales`.
pub(super) async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    StrictJson(new): StrictJson<NewSale>,
) -> Result<(StatusCode, Json<AdminSale>), ApiError> {
    let terms = new.terms().map_err(|e| ApiError::new(Code::InvalidSale, format!("{e}.")))?;
    check_rules(new.rules.as_ref())?;
    let key = idempotency_key(&headers, "create", &new)?;
    let id = match new.id {
        Some(id) => id,
        None => format!("sale-{}", random_hex(6)?).parse().map_err(ApiError::internal)?,
    };
    let row = SaleRow {
        id,
        terms,
        phase: Phase::Active,
        slug: random_hex(16)?,
        version: 1,
        total_version: 1,
        created_at: app.inventory.clock.now(),
        rules: new.rules.unwrap_or_default(),
    };
    // Before the row is there to be found: the reconciler would take a sale without stock for one that lost it.
    let writing = app.inventory.writing(&row.id);
    let made = app.inventory.sales.create(&row, key.as_ref()).await?;
    // The slug is drawn. A repeat under its key finds the sale of the first time, which may have sold since: without
    // a barrier nothing may be written for it.
    if made.slug == row.slug {
        preheat(&app, &made).await;
    }
    drop(writing);
    Ok((StatusCode::CREATED, Json(shown(&app, &made).await)))
}

fn check_rules(rules: Option<&SaleRules>) -> Result<(), ApiError> {
    rules.map_or(Ok(()), SaleRules::check).map_err(|e| ApiError::new(Code::InvalidSale, format!("{e}.")))
}

/// Gives a new sale its allocation and its stock state. Nothing can have been sold yet, so no barrier is
/// needed. If it fails half-way, the reconciler takes the longer road.
async fn preheat(app: &App, row: &SaleRow) {
    let heated = async {
        let allocation = app.inventory.ledger.put(row).await.map_err(|e| e.to_string())?;
        if allocation.epoch != Epoch(1) {
            return Err("the sale id has a past in the ledger".to_owned());
        }
        app.inventory.write_stock(row, allocation.epoch).await
    };
    if let Err(why) = heated.await {
        tracing::warn!(sale = %row.id, %why, "a new sale is not ready yet");
    }
}

/// `PATCH /internal/v1/admin/sales/{id}`.
pub(super) async fn patch(
    State(app): State<App>,
    Path(id): Path<String>,
    StrictJson(patch): StrictJson<SalePatch>,
) -> Result<Json<AdminSale>, ApiError> {
    check_rules(patch.rules.as_ref())?;
    let edit = Edit::Terms {
        title: patch.title,
        opens_at: patch.opens_at.map(UnixMillis),
        ends_at: patch.ends_at.map(UnixMillis),
        rules: patch.rules,
    };
    change(&app, &sale_id(&id)?, &edit, None).await
}

/// `POST /internal/v1/admin/sales/{id}/pause`.
pub(super) async fn pause(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<AdminSale>, ApiError> {
    change(&app, &sale_id(&id)?, &Edit::Phase(Phase::Paused), None).await
}

/// `POST /internal/v1/admin/sales/{id}/resume`.
pub(super) async fn resume(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<AdminSale>, ApiError> {
    change(&app, &sale_id(&id)?, &Edit::Phase(Phase::Active), None).await
}

/// `POST /internal/v1/admin/sales/{id}/end`.
pub(super) async fn end(State(app): State<App>, Path(id): Path<String>) -> Result<Json<AdminSale>, ApiError> {
    change(&app, &sale_id(&id)?, &Edit::Phase(Phase::Ended), None).await
}

/// `POST /internal/v1/admin/sales/{id}/restock`.
pub(super) async fn restock(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    StrictJson(restock): StrictJson<Restock>,
) -> Result<Json<AdminSale>, ApiError> {
    let id = sale_id(&id)?;
    let key = idempotency_key(&headers, id.as_str(), &restock)?;
    if restock.quantity == 0 {
        return Err(ApiError::new(Code::InvalidQuantity, "quantity must be at least 1."));
    }
    change(&app, &id, &Edit::Restock(restock.quantity), key).await
}

/// Changes the row, then tells ledger and stock store. The row is what counts: if telling fails, the
/// reconciler goes on with it.
async fn change(
    app: &App,
    id: &SaleId,
    edit: &Edit,
    key: Option<IdempotencyKey>,
) -> Result<Json<AdminSale>, ApiError> {
    let row = app.inventory.sales.edit(id, edit, key.as_ref()).await?;
    if let Err(why) = app.inventory.push(&row).await {
        tracing::warn!(sale = %id, %why, "a change has not reached ledger and stock store yet");
    }
    Ok(Json(shown(app, &row).await))
}

async fn shown(app: &App, row: &SaleRow) -> AdminSale {
    let (state, epoch) = match app.inventory.stock.view(&row.id).await {
        Ok(view) => (view.state(), view.epoch.0),
        // While the stock state is being rebuilt, the row and our own clock must do.
        Err(_) => {
            let inputs = StateInputs {
                phase: row.phase,
                opens_at: row.terms.opens_at,
                ends_at: row.terms.ends_at,
                free: row.terms.stock,
            };
            (inputs.at(app.inventory.clock.now()), 0)
        }
    };
    AdminSale {
        sale: Sale::new(&row.id, &row.terms),
        state: state.as_str().into(),
        buy: format!("{BUY_PREFIX}{}", row.slug),
        epoch,
        created_at: row.created_at.0,
        rules: row.rules.clone(),
    }
}

fn idempotency_key(
    headers: &HeaderMap,
    scope: &str,
    body: &impl serde::Serialize,
) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY_HEADER) else { return Ok(None) };
    let key = key.to_str().ok().filter(|k| (1..=KEY_LEN_MAX).contains(&k.len())).ok_or_else(|| {
        ApiError::new(Code::BadRequest, format!("Idempotency-Key must have 1 to {KEY_LEN_MAX} characters."))
    })?;
    let body = serde_json::to_string(body).map_err(ApiError::internal)?;
    Ok(Some(IdempotencyKey { key: key.to_owned(), fingerprint: format!("{scope} {body}") }))
}

fn random_hex(bytes: usize) -> Result<String, ApiError> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(ApiError::internal)?;
    Ok(hex::encode(random))
}
