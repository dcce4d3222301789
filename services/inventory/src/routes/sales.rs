//! The catalogue, for gateways.

use axum::Json;
use axum::extract::{Path, State};
use contract::api::Sale;
use contract::internal::{Catalogue, CatalogueSale};
use service_kit::http::ApiError;

use super::{App, sale_id};
use crate::sale_store::SaleRow;

/// `GET /internal/v1/sales`.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Catalogue>, ApiError> {
    let rows = app.inventory.sales.all().await?;
    Ok(Json(Catalogue { sales: rows.iter().map(entry).collect() }))
}

/// `GET /internal/v1/sales/{id}`.
pub(super) async fn one(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<CatalogueSale>, ApiError> {
    Ok(Json(entry(&app.inventory.sales.get(&sale_id(&id)?).await?)))
}

fn entry(row: &SaleRow) -> CatalogueSale {
    CatalogueSale {
        sale: Sale::new(&row.id, &row.terms),
        slug: row.slug.clone(),
        phase: row.phase,
        version: row.version + row.total_version,
        created_at: row.created_at.0,
        rules: row.rules.clone(),
    }
}
