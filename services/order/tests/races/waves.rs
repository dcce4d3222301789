//! Waves of orders, each raced to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contract::internal::PutAllocation;
use contract::lane::{FenceMessage, LaneMessage, OrderMessage};
use domain::{BuyerId, Epoch, OrderId, OrderStatus, ReservationId, SaleId, UnixMillis};
use futures_util::{StreamExt, stream};
use order::order_store::{
    Cancelled, Capture, CaptureOutcome, LateCommit, OrderStore, Provenance, Refunded, StoreError,
};

use super::engine::Engine;
use super::ledger::StockByEvents;
use super::plan::{Race, Scores, Seed};

const WAVE_ORDERS: u32 = 600;
const PRICE: i64 = 1_250;
const PAY_WITHIN_S: u32 = 60;
/// Calls at work at once.
const CALLS_MAX: usize = 48;
/// How often a call is made that the store does not answer.
const ATTEMPTS_MAX: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    Pay,
    Cancel,
    Refund,
    CommitLate,
    FenceLate,
}

/// A call, and whether it changed the order as it wished.
type Done = (OrderId, Call, usize, bool);

pub(crate) struct Arena {
    pub(crate) scores: Scores,
    engine: Engine,
    seed: Seed,
    stock: StockByEvents,
    captures: i64,
    made: u32,
}

fn sale() -> SaleId {
    "arena".parse().unwrap()
}

fn buyer(order: OrderId) -> BuyerId {
    format!("b-{}", &order.to_string()[24..]).parse().unwrap()
}

impl Arena {
    pub(crate) async fn open(engine: Engine, seed: Seed) -> Self {
        let put = PutAllocation {
            total: 1_000_000,
            total_version: 1,
            price_cents: PRICE,
            currency: "EUR".into(),
            per_user_limit: 1,
            pay_within_s: PAY_WITHIN_S,
        };
        engine.store().put_allocation(&sale(), &put).await.unwrap();
        let (scores, stock) = (Scores::default(), StockByEvents::default());
        Self { scores, engine, seed, stock, captures: 0, made: 0 }
    }

    /// Commits a wave of orders and races each to its end.
    pub(crate) async fn wave(&mut self) {
        let mut races: HashMap<OrderId, Race> = HashMap::new();
        for id in self.commit_wave().await {
            let race =
                [Race::PayExpire, Race::PayExpire, Race::PayCancel, Race::CancelExpire][self.seed.below(4)];
            races.insert(id, race);
        }
        let mut ids: Vec<OrderId> = races.keys().copied().collect();
        ids.sort();
        let (early, late) = self.calls(&ids, &races);
        let stop = Arc::new(AtomicBool::new(false));
        let timeout_job = tokio::spawn(expire_until(self.engine.stores[1].clone(), stop.clone()));
        self.race(early).await;
        // The deadline passes while calls are under way: whoever reads the clock first may win.
        let clock = self.engine.clock.clone();
        let deadline = tokio::spawn(async move {
            tokio::task::yield_now().await;
            clock.pass(i64::from(PAY_WITHIN_S) * 1000).await;
        });
        self.race(late).await;
        deadline.await.unwrap();
        let too_late = self.race(vec![(ids[0], Call::Cancel, 0)]).await;
        assert!(!too_late[0].3, "cancelled after the deadline");
        self.engine.store().expire(&ids).await.unwrap();
        stop.store(true, Ordering::SeqCst);
        timeout_job.await.unwrap();
        self.judge(&ids, &races).await;
        self.refunds(&ids).await;
        self.late_payments().await;
        self.hear().await;
    }

    async fn commit_wave(&mut self) -> Vec<OrderId> {
        let now = self.engine.clock.now().await;
        let orders: Vec<OrderId> = (0..WAVE_ORDERS)
            .map(|_| {
                self.made += 1;
                let mut random = [0; 10];
                random[6..].copy_from_slice(&self.made.to_be_bytes());
                OrderId::mint(now, random)
            })
            .collect();
        let batch: Vec<LaneMessage> = orders
            .iter()
            .map(|id| {
                LaneMessage::Order(OrderMessage {
                    order: *id,
                    sale: sale(),
                    buyer: buyer(*id),
                    quantity: 1,
                    epoch: Epoch(1),
                    reserved_at: now,
                })
            })
            .collect();
        assert_eq!(self.engine.store().commit_batch(&batch).await.unwrap().taken, u64::from(WAVE_ORDERS));
        orders
    }

    /// The calls before and around the deadline, in seeded order.
    fn calls(&mut self, ids: &[OrderId], races: &HashMap<OrderId, Race>) -> (Vec<Plan>, Vec<Plan>) {
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for id in ids {
            match races[id] {
                Race::PayCancel => early.extend([(*id, Call::Pay, 0), (*id, Call::Cancel, 1)]),
                race => {
                    let call = if race == Race::PayExpire { Call::Pay } else { Call::Cancel };
                    let side = if self.seed.below(2) == 0 { &mut early } else { &mut late };
                    side.push((*id, call, 0));
                }
            }
        }
        self.seed.shuffle(&mut early);
        self.seed.shuffle(&mut late);
        (early, late)
    }

    /// Runs the calls side by side.
    async fn race(&mut self, calls: Vec<Plan>) -> Vec<Done> {
        self.captures += i64::try_from(calls.iter().filter(|c| c.1 == Call::Pay).count()).unwrap();
        stream::iter(calls)
            .enumerate()
            .map(|(n, plan)| {
                let store = self.engine.stores[n % 2].clone();
                async move { tokio::spawn(call(store, plan)).await.unwrap() }
            })
            .buffer_unordered(CALLS_MAX)
            .collect()
            .await
    }

    /// Counts the winners of the races for the unpaid order.
    async fn judge(&mut self, ids: &[OrderId], races: &HashMap<OrderId, Race>) {
        let statuses = self.engine.tables.statuses(ids[0]).await;
        for id in ids {
            let (race, status) = (races[id], statuses[id]);
            let second_won = match (race, status) {
                (Race::PayExpire | Race::PayCancel, OrderStatus::Paid) => false,
                (Race::CancelExpire, OrderStatus::Cancelled) => false,
                (Race::PayExpire | Race::CancelExpire, OrderStatus::Expired) => true,
                (Race::PayCancel, OrderStatus::Cancelled) => true,
                other => panic!("{id}: {other:?}"),
            };
            self.scores.count(race, second_won);
        }
    }

    /// Two operators refund every other paid order at once.
    async fn refunds(&mut self, ids: &[OrderId]) {
        let mut calls = Vec::new();
        let statuses = self.engine.tables.statuses(ids[0]).await;
        for id in ids {
            if statuses[id] == OrderStatus::Paid && self.seed.below(4) > 0 {
                calls.extend([(*id, Call::Refund, 0), (*id, Call::Refund, 1)]);
            }
        }
        self.seed.shuffle(&mut calls);
        let orders = calls.len() / 2;
        let winners: Vec<_> = self.race(calls).await.into_iter().filter(|done| done.3).collect();
        assert_eq!(winners.len(), orders, "one refund each");
        for (_, _, who, _) in winners {
            self.scores.count(Race::RefundRefund, who == 1);
        }
    }

    /// Late payments whose reservation is being fenced.
    async fn late_payments(&mut self) {
        let mut calls = Vec::new();
        for work in self.engine.store().late_work(WAVE_ORDERS).await.unwrap() {
            calls.extend([(work.order.id, Call::CommitLate, 0), (work.order.id, Call::FenceLate, 1)]);
        }
        self.seed.shuffle(&mut calls);
        let done = self.race(calls).await;
        for (_, _, _, paid) in done.into_iter().filter(|done| done.1 == Call::CommitLate) {
            self.scores.count(Race::LatePayFence, !paid);
        }
        assert_eq!(self.engine.store().late_work(1).await.unwrap(), [], "every late payment has its answer");
    }

    async fn hear(&mut self) {
        for store in &self.engine.stores {
            loop {
                let rows = store.outbox(500).await.unwrap();
                if rows.is_empty() {
                    break;
                }
                rows.iter().for_each(|row| self.stock.hear(row));
                let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
                store.outbox_told(&seqs).await.unwrap();
            }
        }
    }

    /// Money balances to zero, stock is exact, and the ledger's own audit agrees.
    pub(crate) async fn assert_even(&self) {
        assert_eq!(self.engine.store().audit().await.unwrap(), []);
        let (captured, kept, back) = self.engine.tables.money().await;
        assert_eq!(captured, self.captures * PRICE, "every capture is recorded");
        assert_eq!(captured - kept - back, 0, "captured {captured}, kept {kept}, paid back {back}");
        let allocation = self.engine.store().allocation(&sale()).await.unwrap().unwrap();
        assert_eq!(self.stock.held(), allocation.guard.taken as usize, "stock by events, and by the ledger");
        assert_eq!(allocation.counts.pending_payment, 0);
    }
}

type Plan = (OrderId, Call, usize);

/// The timeout job, as any replica runs it.
async fn expire_until(store: Arc<dyn OrderStore>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let mut due = store.overdue(100).await.unwrap();
        due.extend(store.overdue_payments(100).await.unwrap().into_iter().map(|o| o.order));
        if due.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        } else {
            store.expire(&due).await.unwrap();
        }
    }
}

async fn call(store: Arc<dyn OrderStore>, (id, call, who): Plan) -> Done {
    let (reference, who_buys) = (format!("pay-{id}"), buyer(id));
    let won = match call {
        Call::Pay => {
            let provenance = Provenance::Webhook { event_id: format!("event-{id}") };
            let order = id.to_string();
            let capture =
                Capture { provenance, reference, order, amount_cents: PRICE, currency: "EUR".into() };
            patiently(|| store.record_capture(&capture)).await == CaptureOutcome::Paid
        }
        Call::Cancel => matches!(patiently(|| store.cancel(id, &who_buys)).await, Cancelled::Done(_)),
        Call::Refund => patiently(|| store.refund_order(id)).await == Refunded::Done,
        Call::CommitLate => patiently(|| store.commit_late(&reference, Epoch(1))).await == LateCommit::Paid,
        Call::FenceLate => {
            let fence = FenceMessage {
                reservation: ReservationId::late(id),
                sale: sale(),
                buyer: buyer(id),
                quantity: 1,
                reserved_at: UnixMillis(0),
            };
            let batch = [LaneMessage::Fence(fence)];
            patiently(|| store.commit_batch(&batch)).await;
            true
        }
    };
    (id, call, who, won)
}

/// Calls until the store answers, as the service does: a server on a busy machine cuts a call short now and
/// then, and nothing of it was done.
async fn patiently<T, F>(mut call: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 0..ATTEMPTS_MAX {
        match call().await {
            Err(error) if error.is_outage() => {}
            answer => return answer.unwrap(),
        }
    }
    panic!("the store stayed away {ATTEMPTS_MAX} times");
}
