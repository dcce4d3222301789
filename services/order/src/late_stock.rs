//! Units for an expired order that was paid: inventory sets them aside in the stock store.

use async_trait::async_trait;
use axum::http::Method;
use contract::internal::{LateOutcome, LateReservation};
use service_kit::http::HttpClient;

/// No answer; the reservation may have been made. Asking again is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("inventory does not answer: {0}")]
pub struct LateStockError(pub String);

/// Who sets units aside for late payments.
#[async_trait]
pub trait LateStock: Send + Sync {
    /// Sets units aside under the order's late reservation; the same answer however often it is asked.
    async fn reserve(&self, request: &LateReservation) -> Result<LateOutcome, LateStockError>;
}

/// Inventory's internal listener.
pub struct HttpLateStock(HttpClient);

impl HttpLateStock {
    /// Asks the inventory service that this client speaks to.
    #[must_use]
    pub fn new(inventory: HttpClient) -> Self {
        Self(inventory)
    }
}

#[async_trait]
impl LateStock for HttpLateStock {
    async fn reserve(&self, request: &LateReservation) -> Result<LateOutcome, LateStockError> {
        self.0
            .call(Method::POST, "/internal/v1/late-reservations", request)
            .await
            .map_err(|e| LateStockError(e.to_string()))
    }
}
