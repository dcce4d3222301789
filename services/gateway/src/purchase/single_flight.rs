//! Work on orders in flight: whoever comes for an order that is worked on waits instead of doing the same again.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use domain::OrderId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Tables the flights are spread over.
const SHARDS: usize = 32;
/// Orders in flight at most, in each table.
const FLIGHTS_PER_SHARD_MAX: usize = 4096;
/// How many flights of its order somebody follows before giving up: most need two at most.
const FOLLOWED_MAX: usize = 4;

/// The orders in flight, each of which brings a `T`.
pub struct SingleFlight<T>(Box<[Shard<T>]>);

type Shard<T> = Mutex<HashMap<OrderId, Arc<Flight<T>>>>;

struct Flight<T> {
    /// Set once; `None` if the flight was given up.
    outcome: OnceLock<Option<T>>,
    done: Notify,
}

/// How a request takes part in its order's flight.
pub enum Role<'a, T> {
    /// It is the first, and does the work.
    Leader(Leader<'a, T>),
    /// Another does: wait for it.
    Follower(Follower<T>),
    /// Too many orders are in flight.
    Full,
}

/// The right to do an order's work. Dropping it without an outcome lets the next one try.
pub struct Leader<'a, T> {
    shard: &'a Shard<T>,
    order: OrderId,
    flight: Arc<Flight<T>>,
}

/// A place among those who wait.
pub struct Follower<T>(Arc<Flight<T>>);

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl<T> SingleFlight<T> {
    /// Whether this order is in flight.
    #[must_use]
    pub fn has(&self, order: OrderId) -> bool {
        self.shard(order).lock().contains_key(&order)
    }

    /// Joins the order's flight, if there is one.
    pub fn follow(&self, order: OrderId) -> Option<Follower<T>> {
        self.shard(order).lock().get(&order).map(|flight| Follower(flight.clone()))
    }

    /// Joins the order's flight, or begins one.
    pub fn join(&self, order: OrderId) -> Role<'_, T> {
        let shard = self.shard(order);
        let mut flights = shard.lock();
        if let Some(flight) = flights.get(&order) {
            return Role::Follower(Follower(flight.clone()));
        }
        if flights.len() >= FLIGHTS_PER_SHARD_MAX {
            return Role::Full;
        }
        let flight = Arc::new(Flight { outcome: OnceLock::new(), done: Notify::new() });
        flights.insert(order, flight.clone());
        Role::Leader(Leader { shard, order, flight })
    }

    fn shard(&self, order: OrderId) -> &Shard<T> {
        &self.0[usize::from(order.to_bytes()[15]) % SHARDS]
    }
}

impl<T: Clone> SingleFlight<T> {
    /// What `work` on this order brings, begun no sooner than it was asked for: here, or by another who wants the same.
    /// `None` when too many orders are worked on, or when all who began gave up.
    pub async fn share(&self, order: OrderId, work: impl Future<Output = T>) -> Option<T> {
        for followed in 0..FOLLOWED_MAX {
            match self.join(order) {
                Role::Leader(lead) => {
                    let outcome = work.await;
                    lead.complete(outcome.clone());
                    return Some(outcome);
                }
                Role::Follower(flight) => match flight.result().await {
                    // The first one had left before this was asked: the world may have changed since. The next has not.
                    Some(outcome) if followed > 0 => return Some(outcome),
                    Some(_) | None => {}
                },
                Role::Full => break,
            }
        }
        None
    }
}

impl<T> Leader<'_, T> {
    /// Tells everybody who waits.
    pub fn complete(self, outcome: T) {
        let _ = self.flight.outcome.set(Some(outcome));
    }
}

impl<T> Drop for Leader<'_, T> {
    fn drop(&mut self) {
        self.shard.lock().remove(&self.order);
        let _ = self.flight.outcome.set(None);
        self.flight.done.notify_waiters();
    }
}

impl<T: Clone> Follower<T> {
    /// What the flight brought; `None` if it was given up.
    pub async fn result(&self) -> Option<T> {
        let done = self.0.done.notified();
        let mut done = std::pin::pin!(done);
        // Enlisted before looking, or the end could fall in between.
        done.as_mut().enable();
        if self.0.outcome.get().is_none() {
            done.await;
        }
        self.0.outcome.get().cloned().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use domain::UnixMillis;
    use tokio::sync::Semaphore;
    use tokio::task::JoinSet;

    use super::*;

    fn order(n: usize) -> OrderId {
        let [a, b, ..] = n.to_le_bytes();
        OrderId::mint(UnixMillis(0), [7, 7, 7, 7, 7, 7, 7, 7, a, b])
    }

    #[tokio::test]
    async fn whoever_boards_an_order_in_flight_follows_its_first() {
        let flights = SingleFlight::default();
        let Role::Leader(lead) = flights.join(order(0)) else { panic!("nobody else is there") };
        // Both may have looked for a flight before either boarded.
        let Role::Follower(follow) = flights.join(order(0)) else { panic!("the order's work is done twice") };
        lead.complete("sold out");
        assert_eq!(follow.result().await, Some("sold out"));
        assert!(matches!(flights.join(order(0)), Role::Leader(_)), "that flight is over");
    }

    /// Many who ask at once. A piece of work ends when it gets a permit, and says which one it was.
    struct Crowd {
        flights: Arc<SingleFlight<usize>>,
        begun: Arc<AtomicUsize>,
        ends: Arc<Semaphore>,
        asking: JoinSet<usize>,
    }

    const ASKERS: usize = 600;

    impl Crowd {
        /// They all have asked, and wait.
        async fn new(order_of: fn(usize) -> OrderId) -> Self {
            let (flights, begun) = (Arc::<SingleFlight<usize>>::default(), Arc::<AtomicUsize>::default());
            let (ends, asked) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
            let mut asking = JoinSet::new();
            for n in 0..ASKERS {
                let (flights, begun) = (flights.clone(), begun.clone());
                let (ends, asked) = (ends.clone(), asked.clone());
                asking.spawn(async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let work = async {
                        let piece = begun.fetch_add(1, Ordering::SeqCst) + 1;
                        ends.acquire().await.unwrap().forget();
                        piece
                    };
                    flights.share(order_of(n), work).await.unwrap()
                });
            }
            // On one thread, who has asked waits by now.
            while asked.load(Ordering::SeqCst) < ASKERS {
                tokio::task::yield_now().await;
            }
            Self { flights, begun, ends, asking }
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }

        /// Those who lead and follow the flight of this order.
        fn aboard(&self, order: OrderId) -> usize {
            let flights = self.flights.shard(order).lock();
            flights.get(&order).map_or(0, |flight| Arc::strong_count(flight) - 1)
        }
    }

    #[tokio::test]
    async fn who_asks_at_once_shares_what_was_begun_after_asking() {
        let crowd = Crowd::new(|_| order(0)).await;
        assert_eq!((crowd.begun(), crowd.aboard(order(0))), (1, ASKERS));
        crowd.ends.add_permits(1);
        // What was begun before they asked is no answer to them; the next is.
        while (crowd.begun(), crowd.aboard(order(0))) != (2, ASKERS - 1) {
            tokio::task::yield_now().await;
        }
        crowd.ends.add_permits(1);
        let mut told = crowd.asking.join_all().await;
        told.sort_unstable();
        assert_eq!((told[0], told[1], told[ASKERS - 1]), (1, 2, 2));
        assert!(crowd.flights.0.iter().all(|shard| shard.lock().is_empty()), "nothing is left behind");
        // Whoever asks for another order has work of its own.
        assert_eq!(Crowd::new(order).await.begun(), ASKERS);
    }

    #[tokio::test]
    async fn work_that_is_given_up_is_done_by_whoever_waits() {
        let flights = SingleFlight::default();
        let Role::Leader(lead) = flights.join(order(0)) else { panic!("nobody else is there") };
        let mut waits = std::pin::pin!(flights.share(order(0), async { "done" }));
        assert!(futures_util::poll!(waits.as_mut()).is_pending());
        drop(lead);
        assert_eq!(waits.await, Some("done"));
    }
}
