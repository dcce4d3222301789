//! Reserves the units, publishes the order, and decides between 202 and 503: the part of a purchase that changes
//! something.

use contract::Code;
use contract::lane::{LaneMessage, OrderMessage};
use domain::{OrderStatus, ReservationId};
use stock::{ReserveOutcome, ReserveRequest, StockError};
use tokio::time::Instant;

use super::accepted::Known;
use super::answer::{Answer, Refusal};
use super::publish;
use crate::gateway::Gateway;
use crate::sale::Sale;
use crate::tickets::Claims;

const UNAVAILABLE: Refusal = Refusal::new(Code::Unavailable);

/// One order on its way from a believed ticket to a confirmed message.
pub(super) struct Purchase<'a> {
    gateway: &'a Gateway,
    sale: &'a Sale,
    claims: &'a Claims,
    quantity: u32,
}

/// A reservation that this request may have made. Whatever happens to the request, also its client going away or
/// the store's answer getting lost, the ticket's place is remembered, unless it is known that it has none.
struct Place<'a> {
    purchase: &'a Purchase<'a>,
    confirmed: bool,
    has_none: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.has_none {
            return;
        }
        let Purchase { gateway, sale, claims, quantity } = self.purchase;
        let known = Known { quantity: *quantity, slot: sale.slot, confirmed: self.confirmed, has_row: false };
        gateway.accepted.remember(claims.order, known);
    }
}

impl<'a> Purchase<'a> {
    pub(super) fn new(gateway: &'a Gateway, sale: &'a Sale, claims: &'a Claims, quantity: u32) -> Self {
        Self { gateway, sale, claims, quantity }
    }

    pub(super) async fn reserve_and_publish(&self) -> Answer {
        use ReserveOutcome::{AlreadyReserved, Overdue, Released, Settled};
        let started = Instant::now();
        let mut place = Place { purchase: self, confirmed: false, has_none: false };
        let outcome = self.gateway.stock.reserve(&self.reserve()).await;
        self.gateway.measures.reserved(started);
        place.has_none = match &outcome {
            Ok(reserved) => !matches!(reserved, ReserveOutcome::Reserved | AlreadyReserved),
            // Without an answer it may be reserved all the same.
            Err(error) => matches!(error, StockError::UnknownSale(_)),
        };
        let reserved = match outcome {
            Ok(reserved) => reserved,
            Err(error) => {
                tracing::debug!(%error, order = %self.claims.order, "nothing could be reserved");
                return UNAVAILABLE.into();
            }
        };
        if matches!(reserved, AlreadyReserved | Overdue | Settled | Released) {
            self.gateway.measures.continued.increment(1);
        }
        match reserved {
            ReserveOutcome::Reserved | AlreadyReserved => self.publish(&mut place, started).await,
            // Nothing is published for an overdue one. If its message went out before, its order may still come; if
            // not, its fence will close it: either way the ledger will know.
            Overdue | Settled | Released => self.ledger_says(UNAVAILABLE).await,
            ReserveOutcome::Expired | ReserveOutcome::StaleTicket => {
                self.ledger_says(Refusal::new(Code::InvalidTicket)).await
            }
            ReserveOutcome::QuantityMismatch => Refusal::new(Code::TicketMismatch).into(),
            ReserveOutcome::SoldOut(change) => {
                self.sale.store_said_sold_out(change);
                Refusal::new(Code::SoldOut).into()
            }
            // Sets no flag: one unit less may still be had.
            ReserveOutcome::NotEnough { free } => {
                Refusal { available: Some(free), ..Refusal::new(Code::NotEnough) }.into()
            }
            ReserveOutcome::LimitReached => Refusal::new(Code::LimitReached).into(),
            ReserveOutcome::Closed(because) => Refusal::of_closed(because).into(),
        }
    }

    /// Publishes the reserved order. However that ends, the reservation stays: the same ticket
    /// continues it, and a unit whose order never comes is returned by its fence. Giving it back here
    /// would race with a message that is already in the queue.
    ///
    /// The bound counts from before the reservation was asked for: the store's word that the ticket still lives is
    /// no newer than that, however long this process stood still since.
    async fn publish(&self, place: &mut Place<'_>, asked: Instant) -> Answer {
        let started = Instant::now();
        let (queue, until) = (&*self.gateway.queue, asked + self.gateway.publish_wait);
        let confirmed = publish::is_confirmed(queue, &self.message(), until).await;
        self.gateway.measures.published(started);
        if !confirmed {
            return UNAVAILABLE.into();
        }
        self.gateway.pressure.published(self.sale.lane);
        self.sale.queue_share.published();
        if !self.epoch_holds().await {
            return UNAVAILABLE.into();
        }
        place.confirmed = true;
        Answer::Accepted { order: self.claims.order, status: OrderStatus::Queued }
    }

    /// Whether the stock state that the ticket belongs to is still the present one. If it was lost in
    /// the meantime, the message may stand behind the barrier and be rejected: that is no 202. A look from a moment
    /// before the confirm is good enough, for barriers wait longer than that ([`contract::internal::STOCK_LOOK_MS_MAX`]).
    async fn epoch_holds(&self) -> bool {
        let view = self.sale.view(&*self.gateway.stock).await;
        let epoch = self.claims.epoch;
        view.is_ok_and(|view| view.epoch == epoch) && self.sale.newest_epoch() == epoch
    }

    /// The answer of a ticket whose order is in the ledger; `otherwise` if it is not.
    async fn ledger_says(&self, otherwise: Refusal) -> Answer {
        match self.gateway.upstream.row_of_used_ticket(self.claims.order).await {
            Ok(Some(row)) if row.buyer == self.claims.buyer => {
                if row.order.quantity != self.quantity {
                    return Refusal::new(Code::TicketMismatch).into();
                }
                Answer::Accepted { order: self.claims.order, status: row.order.status }
            }
            Ok(_) => otherwise.into(),
            Err(error) => error.into(),
        }
    }

    fn reserve(&self) -> ReserveRequest {
        ReserveRequest {
            sale: self.sale.id.clone(),
            id: ReservationId::first(self.claims.order),
            buyer: self.claims.buyer.clone(),
            quantity: self.quantity,
            epoch: self.claims.epoch,
            expires_at: self.claims.expires_at,
        }
    }

    fn message(&self) -> LaneMessage {
        LaneMessage::Order(OrderMessage {
            order: self.claims.order,
            sale: self.sale.id.clone(),
            buyer: self.claims.buyer.clone(),
            quantity: self.quantity,
            epoch: self.claims.epoch,
            reserved_at: self.gateway.clock.now(),
        })
    }
}
