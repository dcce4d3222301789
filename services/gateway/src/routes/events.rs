//! `/api/v1/orders/{id}/events`: an order's status as it changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use contract::Code;
use contract::api::Order;
use domain::{BuyerId, OrderId};
use futures_util::stream;
use service_kit::http::ApiError;

use super::{Buyer, Segment, Shared, event_stream};
use crate::gateway::Gateway;
use crate::shares::Share;
use crate::status::not_found;
use crate::watchers::Watch;

/// How long a stream waits for news before it looks by itself: events may be missed. Each time twice as long, up to
/// the longest: thousands who are about to pay must not ask the ledger every second.
const LOOK_AGAIN_MS: u64 = 1_000;
const LOOK_AGAIN_MS_MAX: u64 = 15_000;

struct Watcher {
    gateway: Arc<Gateway>,
    watch: Watch,
    _share: Share,
    buyer: BuyerId,
    order: OrderId,
    /// Told last.
    told: Option<Order>,
    /// To be told next.
    next: Option<Order>,
}

/// `GET /api/v1/orders/{id}/events`
pub(super) async fn stream(
    State(gateway): Shared,
    Buyer(buyer): Buyer,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let order = id.parse().map_err(|_| not_found())?;
    let share = gateway.stream_shares.take(&buyer)?;
    let watch = Watch::new(gateway.watchers.clone(), order)
        .ok_or_else(|| ApiError::new(Code::Overloaded, "Too many streams are open: poll instead."))?;
    let first = gateway.order_of(&buyer, order).await?;
    let watcher = Watcher { gateway, watch, _share: share, buyer, order, told: None, next: Some(first) };
    let events = stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next_event().await?;
        Some((Ok::<_, Infallible>(event), watcher))
    });
    Ok(event_stream::answer(events))
}

impl Watcher {
    /// The next state that differs from the last one told; `None` after a terminal one.
    async fn next_event(&mut self) -> Option<Event> {
        if self.told.as_ref().is_some_and(|order| order.status.is_terminal()) {
            return None;
        }
        let mut pause_ms = LOOK_AGAIN_MS;
        while self.next.is_none() {
            let news = self.watch.news();
            self.look().await;
            if self.next.is_some() {
                break;
            }
            tokio::select! {
                () = news => pause_ms = LOOK_AGAIN_MS,
                () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {
                    pause_ms = (pause_ms * 2).min(LOOK_AGAIN_MS_MAX);
                }
                () = self.gateway.stopping.cancelled() => return None,
            }
        }
        let order = self.next.take()?;
        let event = Event::default().event("status").json_data(&order).ok();
        self.told = Some(order);
        event
    }

    async fn look(&mut self) {
        // What cannot be looked up now is looked up again later: the stream promised to go on.
        let Ok(order) = self.gateway.order_of(&self.buyer, self.order).await else { return };
        if self.told.as_ref() != Some(&order) {
            self.next = Some(order);
        }
    }
}
