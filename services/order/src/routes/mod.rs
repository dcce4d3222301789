//! The internal listener. Everything under `/internal/v1` needs the internal token, also the webhook that the gateway passes
//! on. At its public path the webhook needs none, for the sandbox of another process. Both check its signature, and the
//! sandbox's pay page guards itself.

mod allocations;
mod operators;
mod orders;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use contract::Code;
use contract::api::{BODY_BYTES_MAX, WEBHOOK_PATH};
use domain::{Clock, OrderId, SaleId};
use service_kit::Secret;
use service_kit::http::{ApiError, problem_fallbacks, require_bearer};
use tokio::sync::Semaphore;

use crate::order_store::{OrderStore, StoreError};
use crate::payment::PaymentProvider;
use crate::{Config, Dependencies};

/// What every route works with.
#[derive(Clone)]
pub(crate) struct App {
    store: Arc<dyn OrderStore>,
    provider: Arc<dyn PaymentProvider>,
    webhook_secret: Secret,
    clock: Arc<dyn Clock>,
    /// Shares of the questions to the provider.
    asking: Arc<Semaphore>,
}

/// All routes.
pub(crate) fn router(config: &Config, deps: &Dependencies) -> Router {
    let app = App {
        store: deps.store.clone(),
        provider: deps.provider.clone(),
        webhook_secret: config.webhook_secret.clone(),
        clock: deps.clock.clone(),
        asking: Arc::new(Semaphore::new(orders::QUESTIONS_MAX)),
    };
    let internal = Router::new()
        .route("/orders/{id}", get(orders::one))
        .route("/orders/{id}/payment", post(orders::pay))
        .route("/orders/{id}/cancel", post(orders::cancel))
        .route("/buyers/{buyer}/orders", get(orders::list))
        .route("/webhook", post(webhooks::receive))
        .route("/allocations/{sale}", get(allocations::get).put(allocations::put))
        .route("/allocations/{sale}/snapshot", get(allocations::snapshot))
        .route("/outbox", get(allocations::outbox))
        .route("/admin/orders/{id}", get(operators::order))
        .route("/admin/orders/{id}/refund", post(operators::refund))
        .route("/audit", get(operators::audit))
        .layer(from_fn_with_state(config.internal_token.clone(), require_bearer));
    let open = Router::new().route(WEBHOOK_PATH, post(webhooks::receive));
    let router = Router::new().nest("/internal/v1", internal).merge(open).with_state(app);
    let router = match &deps.sandbox {
        Some(sandbox) => router.merge(sandbox.routes()),
        None => router,
    };
    problem_fallbacks(router).layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => {
                tracing::warn!(%why, "the order store is away");
                Self::new(Code::Unavailable, "The order store does not answer right now.")
            }
            StoreError::UnknownSale(sale) => {
                Self::new(Code::SaleNotFound, format!("Sale {sale} has no allocation."))
            }
            StoreError::Refused(why) => Self::internal(why),
        }
    }
}

/// An id that is none names no order.
fn order_id(text: &str) -> Result<OrderId, ApiError> {
    text.parse().map_err(|_| order_not_found())
}

fn order_not_found() -> ApiError {
    ApiError::new(Code::OrderNotFound, "No order of this buyer has this id.")
}

fn sale_id(text: &str) -> Result<SaleId, ApiError> {
    text.parse().map_err(|_| ApiError::new(Code::SaleNotFound, "No sale has this id."))
}
