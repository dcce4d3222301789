//! Where an order stands: the reservation first, then the row.

use std::pin::pin;
use std::time::Duration;

use contract::Code;
use contract::api::Order;
use domain::{BuyerId, OrderId, OrderStatus, ReservationId};
use futures_util::{StreamExt, stream};
use service_kit::http::ApiError;
use stock::{Held, Peek, StockError};
use tokio::time::{Instant, timeout_at};

use crate::gateway::Gateway;
use crate::sale::Sale;

/// Sales asked for an order that this gateway did not accept, at most: of those that were open when it was made,
/// the ones heard of last.
const SALES_PEEKED_MAX: usize = 64;
/// Of them those asked side by side.
const PEEKS_AT_ONCE: usize = 8;
/// How long they may take together, in milliseconds. Each has a bound of its own, and a node that is silent takes it.
const PEEKS_MS_MAX: u64 = 250;
/// Orders searched for at once in many sales' stock: each takes many questions, whoever makes ids up.
pub(crate) const SEARCHES_MAX: usize = 64;
/// How far outside a sale's times an order of it may have been made: its times may have been changed since.
const TIMES_CHANGED_MS_MAX: i64 = 3_600_000;
/// A reservation older than this may well have a row whose event has not come round yet.
const ROW_LIKELY_AFTER_MS: i64 = 1000;

/// What a look at an order shows: the order and its buyer. Nothing, if it was accepted here and nobody can say where it
/// stands yet.
pub(crate) type Look = Result<Option<(Order, BuyerId)>, ApiError>;

/// Where an order can be found.
enum Found {
    /// Only in the stock store.
    Queued(Box<Order>, BuyerId),
    /// Not there, or not only.
    AskTheLedger,
    /// The stock store could not say: it has lost this sale, or does not answer.
    Unknown,
}

impl Gateway {
    /// The order, if it is this buyer's.
    ///
    /// # Errors
    /// 404, also for another buyer's; 503 when the store or the ledger cannot say.
    pub(crate) async fn order_of(&self, buyer: &BuyerId, order: OrderId) -> Result<Order, ApiError> {
        match self.look(order, self.look_up(order)).await? {
            Some((found, whose)) if whose == *buyer => Ok(found),
            Some(_) => Err(not_found()),
            None => Err(unknown()),
        }
    }

    /// The present status of an order of this buyer that this gateway has accepted. However many of the buyer's tickets
    /// are sent again at once, the looks at their orders are part of its share.
    ///
    /// # Errors
    /// 503 when the ledger cannot say, or when the buyer's share is at work.
    pub(crate) async fn accepted_status(
        &self,
        buyer: &BuyerId,
        order: OrderId,
    ) -> Result<OrderStatus, ApiError> {
        let within_its_share = async {
            let _share = self.shares.take(buyer)?;
            self.look_up(order).await
        };
        let shown = self.look(order, within_its_share).await?;
        // Accepted and without a row: its message is still on its way.
        Ok(shown.map_or(OrderStatus::Queued, |(found, _)| found.status))
    }

    /// One look at an order at a time, whoever asks and however many: each costs the stock store a question, and the
    /// order service a call and a query.
    async fn look(&self, order: OrderId, look: impl Future<Output = Look>) -> Look {
        let too_many = || Err(ApiError::new(Code::Overloaded, "Too many orders are being looked up."));
        self.looks.share(order, look).await.unwrap_or_else(too_many)
    }

    async fn look_up(&self, order: OrderId) -> Look {
        let Some(known) = self.accepted.get(order) else { return self.search(order).await };
        let Some(sale) = self.catalogue.by_slot(known.slot) else { return self.search(order).await };
        let found = if known.has_row { Found::AskTheLedger } else { self.reservation(&sale, order).await };
        let store_cannot_say = match found {
            Found::Queued(queued, whose) => return Ok(Some((*queued, whose))),
            Found::AskTheLedger => false,
            Found::Unknown => true,
        };
        match self.upstream.row(order).await? {
            Some(row) => {
                self.accepted.saw_row(order);
                Ok(Some((row.order, row.buyer)))
            }
            // It exists, even while nobody can say where it stands.
            None if known.confirmed => Ok(None),
            None if store_cannot_say => Err(unknown()),
            None => Err(self.absent(&sale).await),
        }
    }

    /// An order that this gateway knows nothing about: accepted by another one, or long ago. The row first, for
    /// it says the sale; without one every sale is asked that was open when the order was made, also one that has
    /// ended since: its lane may be long.
    async fn search(&self, order: OrderId) -> Look {
        if let Some(row) = self.upstream.row(order).await? {
            return Ok(Some((row.order, row.buyer)));
        }
        let _search = self
            .searches
            .try_acquire()
            .map_err(|_| ApiError::new(Code::Overloaded, "Too many orders are being looked for."))?;
        let listing = self.catalogue.listing();
        let made = order.minted_at().0;
        let mut may_be_its = listing.sales().iter().rev().filter(|sale| {
            let terms = sale.terms();
            let (opens, ends) = (terms.sale.sale.opens_at, terms.sale.sale.ends_at);
            (opens.saturating_sub(TIMES_CHANGED_MS_MAX)..ends.saturating_add(TIMES_CHANGED_MS_MAX))
                .contains(&made)
        });
        // It may be of a sale that this gateway has not heard of yet.
        let mut cannot_say = !self.catalogue.is_complete();
        let asked: Vec<_> = may_be_its.by_ref().take(SALES_PEEKED_MAX).collect();
        // Side by side: a node of the store that is silent says nothing about other nodes' sales.
        let peeks: Vec<_> = asked.into_iter().map(|sale| self.reservation(sale, order)).collect();
        let mut peeks = pin!(stream::iter(peeks).buffer_unordered(PEEKS_AT_ONCE));
        let until = Instant::now() + Duration::from_millis(PEEKS_MS_MAX);
        loop {
            match timeout_at(until, peeks.next()).await {
                Ok(Some(Found::Queued(queued, whose))) => return Ok(Some((*queued, whose))),
                Ok(Some(Found::AskTheLedger)) => {}
                Ok(Some(Found::Unknown)) => cannot_say = true,
                Ok(None) => break,
                Err(_) => {
                    cannot_say = true;
                    break;
                }
            }
        }
        cannot_say |= may_be_its.next().is_some();
        // Its row may have come while the sales were asked.
        match self.upstream.row(order).await? {
            Some(row) => Ok(Some((row.order, row.buyer))),
            None if cannot_say => Err(unknown()),
            None => Err(not_found()),
        }
    }

    async fn reservation(&self, sale: &Sale, order: OrderId) -> Found {
        match self.stock.peek(&sale.id, ReservationId::first(order)).await {
            Ok(Peek::Reserved(held)) => self.queued(sale, held).await,
            Ok(Peek::Settled(_) | Peek::Released | Peek::None) => Found::AskTheLedger,
            Err(StockError::UnknownSale(_) | StockError::Unreachable(_)) => Found::Unknown,
        }
    }

    async fn queued(&self, sale: &Sale, held: Held) -> Found {
        let view = sale.view(&*self.stock).await;
        if view.is_ok_and(|view| view.now.since(held.reserved_at) > ROW_LIKELY_AFTER_MS)
            && matches!(self.upstream.row(held.id.order).await, Ok(Some(_)))
        {
            return Found::AskTheLedger;
        }
        let terms = sale.terms();
        let order = Order {
            order_id: held.id.order,
            sale: sale.id.clone(),
            quantity: held.quantity,
            amount_cents: terms.amount(held.quantity).map_or(0, |amount| amount.cents),
            currency: terms.sale.sale.currency.clone(),
            status: OrderStatus::Queued,
            created_at: held.reserved_at.0,
            pay_by: None,
        };
        Found::Queued(Box::new(order), held.buyer)
    }

    /// Neither a reservation nor a row: gone for good, unless the stock is being rebuilt.
    async fn absent(&self, sale: &Sale) -> ApiError {
        if sale.view(&*self.stock).await.is_ok() { not_found() } else { unknown() }
    }
}

/// The same for an order that does not exist and for another buyer's.
pub(crate) fn not_found() -> ApiError {
    ApiError::new(Code::OrderNotFound, "You have no order of this id.")
}

fn unknown() -> ApiError {
    ApiError::new(Code::Unavailable, "The order cannot be looked up at the moment.")
}
