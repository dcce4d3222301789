//! A store with a clock moved by hand, and short words for what tests do with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use contract::events::{Event, EventKind};
use contract::internal::PutAllocation;
use contract::lane::{BarrierMessage, FenceMessage, LaneMessage, OrderMessage};
use domain::{BuyerId, Clock, Epoch, OrderId, OrderStatus, ReservationId, SaleId, UnixMillis};

use crate::order_store::{
    BatchOutcome, Capture, CaptureOutcome, OrderRecord, OrderStore, PaymentBegun, Provenance,
};

/// Where the hand-moved clock starts.
pub(in crate::order_store) const START: UnixMillis = UnixMillis(1_700_000_000_000);
/// Seconds to pay in every test sale.
pub(in crate::order_store) const PAY_WITHIN_S: u32 = 60;
/// Price of one unit.
pub(in crate::order_store) const PRICE: i64 = 1_999;

/// The clock of a store under test: it stands until it is moved.
#[async_trait]
pub(in crate::order_store) trait Hands: Send + Sync {
    async fn pass(&self, millis: i64);
}

/// A clock that the store is given.
pub(in crate::order_store) struct HandClock(AtomicI64);

impl HandClock {
    pub(in crate::order_store) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(START.0)))
    }
}

impl Clock for HandClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Hands for HandClock {
    async fn pass(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

/// A store under test.
pub(in crate::order_store) struct Bench {
    pub(in crate::order_store) store: Arc<dyn OrderStore>,
    pub(in crate::order_store) clock: Arc<dyn Hands>,
    /// Keeps the store's files, or its database, until the test ends.
    pub(in crate::order_store) _files: Box<dyn std::any::Any + Send + Sync>,
}

/// The sale of most tests.
pub(in crate::order_store) fn sale() -> SaleId {
    "lamp".parse().unwrap()
}

pub(in crate::order_store) fn buyer(name: &str) -> BuyerId {
    name.parse().unwrap()
}

/// The n-th order id.
pub(in crate::order_store) fn id(n: u32) -> OrderId {
    let mut random = [0; 10];
    random[6..].copy_from_slice(&n.to_be_bytes());
    OrderId::mint(START.plus(i64::from(n)), random)
}

pub(in crate::order_store) fn order(n: u32, who: &str, quantity: u32) -> LaneMessage {
    order_in(1, n, who, quantity)
}

pub(in crate::order_store) fn order_in(epoch: u64, n: u32, who: &str, quantity: u32) -> LaneMessage {
    LaneMessage::Order(OrderMessage {
        order: id(n),
        sale: sale(),
        buyer: buyer(who),
        quantity,
        epoch: Epoch(epoch),
        reserved_at: START,
    })
}

pub(in crate::order_store) fn fence(reservation: ReservationId, who: &str, quantity: u32) -> LaneMessage {
    LaneMessage::Fence(FenceMessage {
        reservation,
        sale: sale(),
        buyer: buyer(who),
        quantity,
        reserved_at: START,
    })
}

pub(in crate::order_store) fn barrier(above: u64) -> LaneMessage {
    LaneMessage::Barrier(BarrierMessage { sale: sale(), above: Epoch(above) })
}

impl Bench {
    /// Opens the test sale with this many units.
    pub(in crate::order_store) async fn with_sale(self, total: u32, per_user_limit: u32) -> Self {
        self.put(&sale(), total, 1, per_user_limit).await;
        self
    }

    pub(in crate::order_store) async fn put(&self, sale: &SaleId, total: u32, version: u64, limit: u32) {
        let put = PutAllocation {
            total,
            total_version: version,
            price_cents: PRICE,
            currency: "EUR".into(),
            per_user_limit: limit,
            pay_within_s: PAY_WITHIN_S,
        };
        self.store.put_allocation(sale, &put).await.unwrap();
    }

    pub(in crate::order_store) async fn pass(&self, millis: i64) {
        self.clock.pass(millis).await;
    }

    /// Lets the time to pay run out for all that is committed now.
    pub(in crate::order_store) async fn pass_deadline(&self) {
        self.pass(i64::from(PAY_WITHIN_S) * 1000).await;
    }

    pub(in crate::order_store) async fn commit(&self, batch: &[LaneMessage]) -> BatchOutcome {
        self.store.commit_batch(batch).await.unwrap()
    }

    pub(in crate::order_store) async fn record(&self, n: u32) -> OrderRecord {
        self.store.order(id(n)).await.unwrap().unwrap()
    }

    pub(in crate::order_store) async fn status(&self, n: u32) -> OrderStatus {
        self.record(n).await.status
    }

    pub(in crate::order_store) async fn taken(&self) -> u32 {
        self.store.allocation(&sale()).await.unwrap().unwrap().guard.taken
    }

    pub(in crate::order_store) async fn epoch(&self) -> Epoch {
        self.store.allocation(&sale()).await.unwrap().unwrap().guard.epoch
    }

    /// Starts a payment of the order and answers its reference.
    pub(in crate::order_store) async fn begin(&self, n: u32, who: &str) -> String {
        match self.store.begin_payment(id(n), &buyer(who)).await.unwrap() {
            PaymentBegun::Started(charge) | PaymentBegun::UnderWay(charge) => charge.reference,
            other => panic!("{other:?}"),
        }
    }

    /// The right money for `quantity` units of the n-th order, told by a webhook.
    pub(in crate::order_store) fn money(reference: &str, n: u32, quantity: i64) -> Capture {
        Capture {
            provenance: Provenance::Webhook { event_id: format!("event-{reference}") },
            reference: reference.into(),
            order: id(n).to_string(),
            amount_cents: PRICE * quantity,
            currency: "EUR".into(),
        }
    }

    /// Captures the right money for one unit of the n-th order.
    pub(in crate::order_store) async fn pay(&self, n: u32, reference: &str) -> CaptureOutcome {
        self.store.record_capture(&Self::money(reference, n, 1)).await.unwrap()
    }

    /// Takes and empties the outbox: what happened, to which reservations.
    pub(in crate::order_store) async fn told(&self) -> Vec<(EventKind, Vec<String>)> {
        let rows = self.store.outbox(1000).await.unwrap();
        let seqs: Vec<i64> = rows.iter().map(|r| r.seq).collect();
        self.store.outbox_told(&seqs).await.unwrap();
        let names = |e: &Event| e.orders.iter().map(|o| o.reservation.to_string()).collect();
        rows.iter().map(|r| (r.event.kind, names(&r.event))).collect()
    }

    /// How often the n-th order's money was asked to be paid back.
    pub(in crate::order_store) async fn refunds(&self, n: u32) -> Vec<contract::api::Refund> {
        self.store.order_history(id(n)).await.unwrap().unwrap().refunds
    }

    pub(in crate::order_store) async fn assert_sound(&self) {
        assert_eq!(self.store.audit().await.unwrap(), []);
    }
}
