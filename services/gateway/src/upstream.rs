//! The services behind the gateway, as the gateway asks them.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contract::Code;
use contract::api::{
    Audit, IDEMPOTENCY_KEY_HEADER, Mailbox, Order, OrderList, PaymentStarted, WEBHOOK_SIGNATURE_HEADER,
};
use contract::internal::{AUDIT_MS_MAX, Catalogue, CatalogueSale, OnBehalfOf, OrderRow};
use domain::{BuyerId, OrderId};
use service_kit::http::{ApiError, ClientError, HttpClient, X_REQUEST_ID};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Calls of buyers at work at once, to all services together: a storm of readers must not become one of theirs.
const CALLS_MAX: usize = 512;
/// Tickets that reserve nothing more whose orders are looked for at once. Apart from the others: whoever sends old
/// tickets after a sale must not take the calls of all buyers.
const USED_TICKETS_MAX: usize = 128;
/// Operators' calls at work at once. Apart from the buyers': a sale can be paused when all theirs are taken.
const OPERATORS_MAX: usize = 64;
/// Webhooks at work at once: whoever sends them without a right to must not take the calls of buyers, nor a crowd of
/// buyers those of the provider.
const WEBHOOKS_MAX: usize = 64;
/// Audits at work at once: each reads the whole ledger.
const AUDITS_MAX: usize = 2;
/// What the way to an audit and back may take beside its own time, in milliseconds.
const AUDIT_SLACK_MS: u64 = 5_000;
/// Longest wait for an audit.
const AUDIT_WAIT: Duration = Duration::from_millis(AUDIT_MS_MAX + AUDIT_SLACK_MS);
/// What a passed-on request keeps of its header.
const PASSED_ON: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::ACCEPT, HeaderName::from_static(IDEMPOTENCY_KEY_HEADER), X_REQUEST_ID];
/// What a passed-on answer loses of its header: what belongs to the connection it came by.
const NOT_PASSED_BACK: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, X_REQUEST_ID];

/// Another service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    /// Sales and stock.
    Inventory,
    /// Orders and payments.
    Order,
}

/// For whom a request is passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum For {
    /// A buyer.
    Buyer,
    /// An operator.
    Operator,
    /// The payment provider.
    Provider,
}

/// The services behind the gateway.
pub(crate) struct Upstream {
    inventory: HttpClient,
    order: HttpClient,
    notify: Option<HttpClient>,
    calls: Semaphore,
    used_tickets: Semaphore,
    operators: Semaphore,
    webhooks: Semaphore,
    audits: Semaphore,
}

impl Upstream {
    /// Calls by these clients.
    #[must_use]
    pub(crate) fn new(inventory: HttpClient, order: HttpClient, notify: Option<HttpClient>) -> Self {
        Self {
            inventory,
            order,
            notify,
            calls: Semaphore::new(CALLS_MAX),
            used_tickets: Semaphore::new(USED_TICKETS_MAX),
            operators: Semaphore::new(OPERATORS_MAX),
            webhooks: Semaphore::new(WEBHOOKS_MAX),
            audits: Semaphore::new(AUDITS_MAX),
        }
    }

    fn share(&self, whose: For) -> Result<SemaphorePermit<'_>, ApiError> {
        let pool = match whose {
            For::Buyer => &self.calls,
            For::Operator => &self.operators,
            For::Provider => &self.webhooks,
        };
        one_of(pool)
    }

    /// Everything on sale.
    ///
    /// # Errors
    /// When inventory does not answer. Not counted among the calls: it must also work in a storm.
    pub(crate) async fn sales(&self) -> Result<Vec<CatalogueSale>, ClientError> {
        self.inventory.get::<Catalogue>("/internal/v1/sales").await.map(|catalogue| catalogue.sales)
    }

    /// The order's row, if it has one.
    ///
    /// # Errors
    /// When the order service does not answer.
    pub(crate) async fn row(&self, order: OrderId) -> Result<Option<OrderRow>, ApiError> {
        let _share = self.share(For::Buyer)?;
        self.row_at_once(order).await
    }

    /// The row of an order whose ticket reserves nothing more: used before, or run out.
    ///
    /// # Errors
    /// When the order service does not answer, or enough of these are at work.
    pub(crate) async fn row_of_used_ticket(&self, order: OrderId) -> Result<Option<OrderRow>, ApiError> {
        let _share = one_of(&self.used_tickets)?;
        self.row_at_once(order).await
    }

    async fn row_at_once(&self, order: OrderId) -> Result<Option<OrderRow>, ApiError> {
        match self.order.get(&format!("/internal/v1/orders/{order}")).await {
            Ok(row) => Ok(Some(row)),
            Err(error) if error.code() == Some(Code::OrderNotFound) => Ok(None),
            Err(error) => Err(behind(error)),
        }
    }

    /// A page of a buyer's orders.
    ///
    /// # Errors
    /// When the order service does not answer, or refuses the page.
    pub(crate) async fn orders_of(&self, buyer: &BuyerId, query: &str) -> Result<OrderList, ApiError> {
        let _share = self.share(For::Buyer)?;
        self.order.get(&format!("/internal/v1/buyers/{buyer}/orders?{query}")).await.map_err(behind)
    }

    /// Starts the order's payment.
    ///
    /// # Errors
    /// The order service's refusal, or that it does not answer.
    pub(crate) async fn pay(&self, order: OrderId, buyer: &BuyerId) -> Result<PaymentStarted, ApiError> {
        self.on_behalf_of(buyer, format!("/internal/v1/orders/{order}/payment")).await
    }

    /// Cancels the order.
    ///
    /// # Errors
    /// The order service's refusal, or that it does not answer.
    pub(crate) async fn cancel(&self, order: OrderId, buyer: &BuyerId) -> Result<Order, ApiError> {
        self.on_behalf_of(buyer, format!("/internal/v1/orders/{order}/cancel")).await
    }

    async fn on_behalf_of<T: serde::de::DeserializeOwned>(
        &self,
        buyer: &BuyerId,
        path: String,
    ) -> Result<T, ApiError> {
        let _share = self.share(For::Buyer)?;
        let body = OnBehalfOf { buyer: buyer.clone() };
        self.order.call(Method::POST, &path, &body).await.map_err(behind)
    }

    /// What both auditors find.
    ///
    /// # Errors
    /// When one of them does not answer, or enough audits are at work.
    pub(crate) async fn audit(&self) -> Result<Audit, ApiError> {
        let _audit = self.audits.try_acquire().map_err(|_| {
            ApiError::new(Code::Overloaded, "Audits are at work already: each reads everything.")
        })?;
        let ask =
            async |service: &HttpClient| service.get_within::<Audit>("/internal/v1/audit", AUDIT_WAIT).await;
        let (one, other) = tokio::join!(ask(&self.inventory), ask(&self.order));
        let (mut all, other) = (one.map_err(behind)?, other.map_err(behind)?);
        all.findings.extend(other.findings);
        all.ok = all.ok && other.ok && all.findings.is_empty();
        Ok(all)
    }

    /// The notices written to a buyer.
    ///
    /// # Errors
    /// When there is no notify service, or it does not answer.
    pub(crate) async fn mailbox(&self, buyer: &BuyerId) -> Result<Mailbox, ApiError> {
        let _share = self.share(For::Buyer)?;
        let notify = self.notify.as_ref();
        let notify = notify.ok_or_else(|| ApiError::new(Code::Unavailable, "There is no mailbox here."))?;
        notify.get(&format!("/internal/v1/mailbox/{buyer}")).await.map_err(behind)
    }

    /// Passes a request on and its answer back.
    ///
    /// # Errors
    /// When the service does not answer, or does not know this gateway.
    pub(crate) async fn pass(
        &self,
        whose: For,
        service: Service,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response, ApiError> {
        let client = match service {
            Service::Inventory => &self.inventory,
            Service::Order => &self.order,
        };
        let kept = headers.iter().filter(|(name, _)| is_passed_on(name));
        let kept = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        let _share = self.share(whose)?;
        let mut reply = client.send(method, path, kept, body).await.map_err(behind)?;
        if is_ours(&reply) {
            return Err(behind(ClientError::Garbled("the internal token is refused".into())));
        }
        for name in &NOT_PASSED_BACK {
            reply.headers.remove(name);
        }
        Ok((reply.status, reply.headers, reply.body).into_response())
    }
}

/// One of a pool's permits, at once.
fn one_of(pool: &Semaphore) -> Result<SemaphorePermit<'_>, ApiError> {
    pool.try_acquire().map_err(|_| ApiError::new(Code::Overloaded, "Too many requests are at work."))
}

fn is_passed_on(name: &HeaderName) -> bool {
    PASSED_ON.contains(name) || name.as_str() == WEBHOOK_SIGNATURE_HEADER
}

/// Whether a refusal is about this gateway and not about whoever asked it.
fn is_ours(reply: &service_kit::http::Reply) -> bool {
    reply.status == StatusCode::UNAUTHORIZED
        && serde_json::from_slice::<contract::Problem>(&reply.body)
            .is_ok_and(|problem| problem.code == Code::Unauthenticated.as_str())
}

/// A call's failure, as its client is told: another service's word about this gateway is none about
/// the client.
fn behind(error: ClientError) -> ApiError {
    match error.code() {
        Some(Code::Unauthenticated | Code::NotFound | Code::MethodNotAllowed) => {
            tracing::error!(%error, "another service refuses this gateway");
            ApiError::new(Code::Unavailable, "A part of the platform does not answer right now.")
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn when_all_calls_of_buyers_are_taken_operators_and_the_provider_still_have_theirs() {
        let nobody = || HttpClient::new("http://127.0.0.1:1", None);
        let upstream = Upstream::new(nobody(), nobody(), None);
        let taken: Vec<_> = (0..CALLS_MAX).map(|_| upstream.share(For::Buyer).unwrap()).collect();
        assert!(upstream.share(For::Buyer).is_err(), "more than {}", taken.len());
        assert!(upstream.share(For::Operator).is_ok());
        assert!(upstream.share(For::Provider).is_ok());
        drop(taken);
        assert!(upstream.share(For::Buyer).is_ok());
    }
}
