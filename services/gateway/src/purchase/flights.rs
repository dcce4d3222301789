//! Orders in flight: duplicates of one ticket wait for the first instead of doing its work again.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use domain::OrderId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::answer::Answer;

/// Tables the flights are spread over.
const SHARDS: usize = 32;
/// Orders in flight at most, in each table.
const FLIGHTS_PER_SHARD_MAX: usize = 4096;

/// The orders in flight.
pub struct Flights(Box<[Shard]>);

type Shard = Mutex<HashMap<OrderId, Arc<Flight>>>;

struct Flight {
    quantity: i64,
    /// Set once; `None` if the flight was given up.
    outcome: OnceLock<Option<Answer>>,
    landed: Notify,
}

/// How a request takes part in its order's flight.
pub enum Boarding<'a> {
    /// It is the first, and does the work.
    Lead(Lead<'a>),
    /// Another does: wait for it.
    Follow(Follow),
    /// Too many orders are in flight.
    Full,
}

/// The right to do an order's work. Dropping it without landing lets the next one try.
pub struct Lead<'a> {
    shard: &'a Shard,
    order: OrderId,
    flight: Arc<Flight>,
}

/// A place among those who wait.
pub struct Follow(Arc<Flight>);

impl Default for Flights {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Flights {
    /// Whether this order is in flight.
    #[must_use]
    pub fn has(&self, order: OrderId) -> bool {
        self.shard(order).lock().contains_key(&order)
    }

    /// Joins the order's flight, if there is one.
    pub fn follow(&self, order: OrderId) -> Option<Follow> {
        self.shard(order).lock().get(&order).map(|flight| Follow(flight.clone()))
    }

    /// Joins the order's flight, or begins one.
    pub fn board(&self, order: OrderId, quantity: i64) -> Boarding<'_> {
        let shard = self.shard(order);
        let mut flights = shard.lock();
        if let Some(flight) = flights.get(&order) {
            return Boarding::Follow(Follow(flight.clone()));
        }
        if flights.len() >= FLIGHTS_PER_SHARD_MAX {
            return Boarding::Full;
        }
        let flight = Arc::new(Flight { quantity, outcome: OnceLock::new(), landed: Notify::new() });
        flights.insert(order, flight.clone());
        Boarding::Lead(Lead { shard, order, flight })
    }

    fn shard(&self, order: OrderId) -> &Shard {
        &self.0[usize::from(order.to_bytes()[15]) % SHARDS]
    }
}

impl Lead<'_> {
    /// Tells everybody who waits.
    pub fn land(self, answer: &Answer) {
        let _ = self.flight.outcome.set(Some(answer.clone()));
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.shard.lock().remove(&self.order);
        let _ = self.flight.outcome.set(None);
        self.flight.landed.notify_waiters();
    }
}

impl Follow {
    /// Whether the flight is for this many units.
    #[must_use]
    pub fn is_for(&self, quantity: i64) -> bool {
        self.0.quantity == quantity
    }

    /// The flight's answer; `None` if it was given up.
    pub async fn landed(&self) -> Option<Answer> {
        let landed = self.0.landed.notified();
        let mut landed = std::pin::pin!(landed);
        // Enlisted before looking, or the landing could fall in between.
        landed.as_mut().enable();
        if self.0.outcome.get().is_none() {
            landed.await;
        }
        self.0.outcome.get().cloned().flatten()
    }
}
