//! `/api/v1/orders`: a buyer's own orders.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use contract::Code;
use domain::{BuyerId, OrderId, OrderStatus};
use service_kit::http::ApiError;

use super::{Buyer, Segment, Shared};
use crate::gateway::Gateway;
use crate::purchase::json;
use crate::status::not_found;

/// Orders on a page, and at most.
const PAGE: u32 = 20;
const PAGE_MAX: u32 = 100;

/// `GET /api/v1/orders?after=&limit=`
pub(super) async fn list(
    State(gateway): Shared,
    Buyer(buyer): Buyer,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let page = page(query.as_deref().unwrap_or_default())?;
    Ok(json(StatusCode::OK, &gateway.upstream.orders_of(&buyer, &page).await?))
}

/// The query, checked and written anew.
fn page(query: &str) -> Result<String, ApiError> {
    let bad = |what: &str| ApiError::new(Code::BadRequest, what);
    let (mut after, mut limit) = (None, PAGE);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("after", "")) => after = None,
            Some(("after", id)) => {
                let id: OrderId = id.parse().map_err(|_| bad("after must be the last page's next."))?;
                after = Some(id);
            }
            Some(("limit", n)) => {
                let n = n.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n));
                limit = n.ok_or_else(|| bad("limit must be 1 to 100."))?;
            }
            _ => return Err(bad("The query may have after and limit.")),
        }
    }
    Ok(after.map_or(format!("limit={limit}"), |after| format!("after={after}&limit={limit}")))
}

/// `GET /api/v1/orders/{id}`
pub(super) async fn one(
    State(gateway): Shared,
    Buyer(buyer): Buyer,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let order = id.parse().map_err(|_| not_found())?;
    Ok(json(StatusCode::OK, &gateway.order_of(&buyer, order).await?))
}

/// `POST /api/v1/orders/{id}/payment`
pub(super) async fn payment(
    State(gateway): Shared,
    Buyer(buyer): Buyer,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let order = id.parse().map_err(|_| not_found())?;
    let pay = || gateway.upstream.pay(order, &buyer);
    let started = once_it_is_there(&gateway, &buyer, order, Code::NotPayable, pay).await?;
    Ok(json(StatusCode::OK, &started))
}

/// `POST /api/v1/orders/{id}/cancel`
pub(super) async fn cancel(
    State(gateway): Shared,
    Buyer(buyer): Buyer,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let order = id.parse().map_err(|_| not_found())?;
    let cancel = || gateway.upstream.cancel(order, &buyer);
    let cancelled = once_it_is_there(&gateway, &buyer, order, Code::NotCancellable, cancel).await?;
    Ok(json(StatusCode::OK, &cancelled))
}

/// Acts on an order's row. The order service knows no queued orders: one that is still queued is refused as
/// `not_yet` rather than not found, and one whose row came in the meantime is acted on.
async fn once_it_is_there<T, F>(
    gateway: &Gateway,
    buyer: &BuyerId,
    order: OrderId,
    not_yet: Code,
    act: impl Fn() -> F,
) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    match act().await {
        Err(error) if error.code == Code::OrderNotFound => {}
        Err(error) => return Err(error),
        Ok(done) => {
            // Whoever acted on the row must not be told afterwards that there is none yet.
            gateway.accepted.saw_row(order);
            return Ok(done);
        }
    }
    if gateway.order_of(buyer, order).await?.status == OrderStatus::Queued {
        return Err(ApiError::new(not_yet, "The order is still queued."));
    }
    act().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_strict() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(page("").unwrap(), "limit=20");
        assert_eq!(page(&format!("after={id}&limit=7")).unwrap(), format!("after={id}&limit=7"));
        for bad in ["limit=0", "limit=101", "limit=x", "after=x", "page=1", "limit", "after=..%2f"] {
            assert_eq!(page(bad).unwrap_err().code, Code::BadRequest, "{bad}");
        }
    }
}
