//! A lane and a store that is slow, away, or refuses.

use std::time::Duration;

use async_trait::async_trait;
use contract::lane::{LaneMessage, OrderMessage};
use domain::{Epoch, OrderId, UnixMillis};
use messaging::Delivery;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::commit::{Ledger, commit};
use super::pace::Pace;
use crate::order_store::{BatchOutcome, StoreError};

/// What a call to the store may take, as with a server.
const CALL_MAX: Duration = Duration::from_secs(10);
/// How long a lane may take to get through. The clock of these tests is no real one.
const PATIENCE: Duration = Duration::from_secs(600);
/// No tag is poison.
const NONE: [u64; 0] = [];
/// Messages of a full batch.
const FULL: u32 = 500;

/// A store whose transactions take so long for every message.
struct Scripted {
    each: Duration,
    /// Attempts that find it away.
    away: usize,
    /// The message that it refuses.
    refused: Option<String>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Messages of each attempt.
    attempts: Vec<usize>,
    committed: Vec<String>,
}

impl Scripted {
    fn slow(each_ms: u64) -> Self {
        Self { each: Duration::from_millis(each_ms), away: 0, refused: None, seen: Mutex::default() }
    }

    /// What it saw since it was asked last.
    async fn seen(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().await)
    }
}

#[async_trait]
impl Ledger for Scripted {
    async fn commit(&self, messages: &[LaneMessage]) -> Result<BatchOutcome, StoreError> {
        let mut seen = self.seen.lock().await;
        seen.attempts.push(messages.len());
        if seen.attempts.len() <= self.away {
            return Err(StoreError::Unavailable("no route".into()));
        }
        let takes = self.each * u32::try_from(messages.len()).unwrap();
        sleep(takes.min(CALL_MAX)).await;
        if takes > CALL_MAX {
            return Err(StoreError::Unavailable("no answer within 10000 ms".into()));
        }
        let ids: Vec<String> = messages.iter().map(LaneMessage::id).collect();
        if self.refused.as_ref().is_some_and(|refused| ids.contains(refused)) {
            return Err(StoreError::Refused("it cannot be".into()));
        }
        seen.committed.extend(ids);
        Ok(BatchOutcome { taken: messages.len() as u64, ..BatchOutcome::default() })
    }
}

fn message(n: u32) -> LaneMessage {
    let mut random = [0; 10];
    random[6..].copy_from_slice(&n.to_be_bytes());
    LaneMessage::Order(OrderMessage {
        order: OrderId::mint(UnixMillis(1_700_000_000_000), random),
        sale: "lamp".parse().unwrap(),
        buyer: format!("b{n}").parse().unwrap(),
        quantity: 1,
        epoch: Epoch(1),
        reserved_at: UnixMillis(1_700_000_000_000),
    })
}

fn batch(n: u32) -> Vec<Delivery> {
    let body = |n| serde_json::to_vec(&message(n)).unwrap();
    (1..=n).map(|n| Delivery { tag: n.into(), redelivered: 0, body: body(n) }).collect()
}

fn ids(n: u32) -> Vec<String> {
    (1..=n).map(|n| message(n).id()).collect()
}

/// Commits a batch of `n` and answers what is poison.
async fn through(store: &Scripted, pace: &mut Pace, n: u32) -> Vec<u64> {
    let shutdown = CancellationToken::new();
    let done = timeout(PATIENCE, commit(store, &batch(n), pace, &shutdown)).await;
    done.expect("the lane stands still").expect("nobody asked it to stop")
}

fn full_pace() -> Pace {
    Pace::up_to(FULL as usize)
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_slow_is_committed_in_pieces_and_in_order() {
    let (mut store, mut pace) = (Scripted::slow(50), full_pace());
    assert_eq!(through(&store, &mut pace, FULL).await, NONE);
    let seen = store.seen().await;
    assert_eq!(seen.committed, ids(FULL), "each once, in lane order");
    assert_eq!(seen.attempts[..3], [500_usize, 250, 125], "half as many each time");
    // The next batch does not begin with what was too much for the last one.
    assert_eq!(through(&store, &mut pace, FULL).await, NONE);
    let seen = store.seen().await;
    assert_eq!(seen.committed, ids(FULL));
    assert!(seen.attempts.iter().all(|n| *n < 250), "{:?}", seen.attempts);
    store.each = Duration::from_millis(1);
    for _ in 0..3 {
        assert_eq!(through(&store, &mut pace, FULL).await, NONE);
    }
    assert_eq!(store.seen().await.attempts.last(), Some(&500), "as large as ever, once the store is quick");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_whatever_the_size_lets_a_lane_grow_again() {
    let (mut store, mut pace) = (Scripted::slow(0), full_pace());
    store.away = 20;
    assert_eq!(through(&store, &mut pace, 1).await, NONE);
    let mut grown = 0;
    while pace.messages() < FULL as usize {
        pace.committed(pace.messages(), CALL_MAX);
        grown += 1;
    }
    assert!(grown < 64, "{grown} transactions");
}

#[tokio::test(start_paused = true)]
async fn an_outage_condemns_nothing_and_is_soon_forgotten() {
    let (mut store, mut pace) = (Scripted::slow(1), full_pace());
    store.away = 30;
    assert_eq!(through(&store, &mut pace, FULL).await, NONE, "an outage is nobody's fault");
    let seen = store.seen().await;
    assert_eq!(seen.committed, ids(FULL));
    assert_eq!(seen.attempts[29], 1, "it is asked with as little as can be");
    assert!(seen.attempts.len() < 30 + 16, "and grows by doubling: {:?}", &seen.attempts[30..]);
}

#[tokio::test(start_paused = true)]
async fn poison_is_found_amid_what_is_too_slow() {
    let (mut store, mut pace) = (Scripted::slow(50), full_pace());
    store.refused = Some(message(333).id());
    assert_eq!(through(&store, &mut pace, FULL).await, [333_u64]);
    let mut good = ids(FULL);
    good.remove(332);
    assert_eq!(store.seen().await.committed, good);
}

#[test]
fn a_few_messages_that_were_quick_tell_nothing_about_many() {
    let mut pace = full_pace();
    pace.failed(500);
    pace.committed(3, Duration::ZERO);
    assert_eq!(pace.messages(), 250);
    pace.committed(250, Duration::ZERO);
    assert_eq!(pace.messages(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_an_outage_leaves_the_batch_unacknowledged() {
    let (mut store, mut pace) = (Scripted::slow(1), full_pace());
    store.away = usize::MAX;
    let shutdown = CancellationToken::new();
    let deliveries = batch(9);
    let committing = commit(&store, &deliveries, &mut pace, &shutdown);
    let stop = async {
        sleep(Duration::from_secs(5)).await;
        shutdown.cancel();
    };
    let (poison, ()) = tokio::join!(committing, stop);
    assert_eq!(poison, None);
}

#[tokio::test(start_paused = true)]
async fn a_stop_amid_a_slow_batch_leaves_the_pieces_that_are_not_committed() {
    let (store, mut pace) = (Scripted::slow(50), full_pace());
    let shutdown = CancellationToken::new();
    let deliveries = batch(FULL);
    let committing = commit(&store, &deliveries, &mut pace, &shutdown);
    let stop = async {
        // Amid the second piece that is not too much.
        sleep(Duration::from_secs(30)).await;
        shutdown.cancel();
        Instant::now()
    };
    let (poison, stopped) = tokio::join!(committing, stop);
    assert_eq!(poison, None, "nothing of it may be acknowledged");
    assert!(stopped.elapsed() <= CALL_MAX, "after the piece it was at");
    let (committed, all) = (store.seen().await.committed, ids(FULL));
    assert!(!committed.is_empty() && committed.len() < all.len(), "{} committed", committed.len());
    assert_eq!(committed, all[..committed.len()], "each once, in lane order");
    // The control: nothing is left of a batch that was committed as a whole.
    let whole = commit(&store, &batch(9), &mut pace, &shutdown).await;
    assert_eq!(whole.as_deref(), Some(&NONE[..]));
}
