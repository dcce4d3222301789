//! Properties of the order queue.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::timeout;

use super::samples::{lane, number, numbers, order};
use super::{Harness, NOT_WITHIN, Ports, WAIT, assert_dead, assert_idle, take, until};
use crate::topology::Limits;
use crate::{Consumer, PublishError, QueueError};

async fn publish(ports: &Ports, these: RangeInclusive<u32>) {
    for n in these {
        ports.queue.publish(&order(n)).await.unwrap();
    }
}

async fn consume(ports: &Ports) -> Box<dyn Consumer> {
    let lane = lane(ports.queue.lanes());
    timeout(WAIT, ports.queue.consume(lane)).await.expect("the lane should be free").unwrap()
}

/// First confirmed, first delivered.
pub async fn a_lane_keeps_the_order_of_its_publishes(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    publish(&ports, 1..=20).await;
    let mut consumer = consume(&ports).await;
    let first = take(&mut *consumer, 15).await;
    assert_eq!(numbers(&first), (1..=15).collect::<Vec<_>>());
    assert!(first.windows(2).all(|w| w[0].tag < w[1].tag), "tags rise");
    assert!(first.iter().all(|d| d.redelivered == 0));
    publish(&ports, 21..=25).await;
    assert_eq!(numbers(&take(&mut *consumer, 10).await), (16..=25).collect::<Vec<_>>());
}

/// A second consumer gets nothing until the first has gone, and then what the first did not
/// acknowledge.
pub async fn a_lane_has_one_active_consumer(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    publish(&ports, 1..=2).await;
    let mut first = consume(&ports).await;
    let taken = take(&mut *first, 2).await;
    let (hears, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let is_attached = Arc::new(AtomicBool::new(false));
    let second = tokio::spawn({
        let (ports, is_attached) = (ports.clone(), is_attached.clone());
        async move {
            let mut second = ports.queue.consume(lane(ports.queue.lanes())).await.unwrap();
            is_attached.store(true, Ordering::SeqCst);
            while hears.send(numbers(&take(&mut *second, 1).await)).is_ok() {}
        }
    });
    // It waits either for the consumer or for its first batch.
    until("both consumers are there", || async {
        let stats = ports.queue.lane_stats().await.unwrap();
        let waits = is_attached.load(Ordering::SeqCst) || stats.iter().any(|lane| lane.consumers == 2);
        waits.then_some(())
    })
    .await;
    assert_eq!(ports.queue.takes(), Ok(()));
    publish(&ports, 3..=4).await;
    assert!(timeout(NOT_WITHIN, heard.recv()).await.is_err(), "two active consumers of one lane");
    first.ack_through(taken[0].tag).await.unwrap();
    first.close().await.unwrap();
    for n in 2..=4 {
        let next = timeout(WAIT, heard.recv()).await.expect("its turn should come");
        assert_eq!(next, Some(vec![n]));
    }
    second.abort();
}

/// Nothing is lost, nothing overtakes, and the redelivery shows.
pub async fn the_next_consumer_gets_the_unacknowledged_in_order(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    publish(&ports, 1..=8).await;
    let mut first = consume(&ports).await;
    let taken = take(&mut *first, 6).await;
    first.ack_through(taken[1].tag).await.unwrap();
    first.close().await.unwrap();
    let mut second = consume(&ports).await;
    let again = take(&mut *second, 6).await;
    assert_eq!(numbers(&again), [3, 4, 5, 6, 7, 8]);
    assert!(again[..4].iter().all(|d| d.redelivered == 1), "{again:?}");
    let sent_ahead = u32::from(harness.sends_ahead());
    assert!(again[4..].iter().all(|d| d.redelivered <= sent_ahead), "{again:?}");
}

/// As after a crash of the consumer.
pub async fn a_dropped_consumer_gives_its_messages_back(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    publish(&ports, 1..=3).await;
    for round in 0..3 {
        let mut consumer = consume(&ports).await;
        let taken = take(&mut *consumer, 3).await;
        assert_eq!(numbers(&taken), [1, 2, 3]);
        assert!(taken.iter().all(|d| d.redelivered == round), "round {round}: {taken:?}");
    }
}

/// What is acknowledged never comes again, what is not does.
pub async fn an_acknowledgement_is_for_all_before_it(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    publish(&ports, 1..=5).await;
    let mut consumer = consume(&ports).await;
    let taken = take(&mut *consumer, 5).await;
    consumer.ack_through(taken[3].tag).await.unwrap();
    consumer.close().await.unwrap();
    let mut next = consume(&ports).await;
    assert_eq!(numbers(&take(&mut *next, 1).await), [5]);
    assert_idle(&mut *next).await;
}

/// What lies before it stays with the consumer, and comes again if the consumer goes.
pub async fn an_acknowledgement_can_be_for_one_alone(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    publish(&ports, 1..=6).await;
    let mut consumer = consume(&ports).await;
    let taken = take(&mut *consumer, 6).await;
    consumer.ack_each(&[taken[3].tag, taken[1].tag]).await.unwrap();
    let unknown = consumer.ack_each(&[taken[0].tag, taken[1].tag]).await;
    assert!(matches!(unknown, Err(QueueError::Unknown(_))), "{unknown:?}");
    // Named twice is done once.
    consumer.ack_each(&[taken[4].tag, taken[4].tag]).await.unwrap();
    consumer.ack_each(&[]).await.unwrap();
    let lane = lane(ports.queue.lanes());
    until("three in flight", || async {
        let stats = ports.queue.lane_stats().await.unwrap();
        (stats[usize::from(lane)].in_flight == 3).then_some(())
    })
    .await;
    consumer.close().await.unwrap();
    let mut second = consume(&ports).await;
    let again = take(&mut *second, 3).await;
    assert_eq!(numbers(&again), [1, 3, 6], "of those that are not held, none");
    // One for all before it goes over the gaps.
    second.ack_each(&[again[1].tag]).await.unwrap();
    second.ack_through(again[2].tag).await.unwrap();
    second.close().await.unwrap();
    let mut third = consume(&ports).await;
    publish(&ports, 7..=7).await;
    assert_eq!(numbers(&take(&mut *third, 1).await), [7], "and nothing comes again");
}

/// Not at the end: a lane stays in order, but for what was sent ahead.
pub async fn a_requeued_message_keeps_its_place(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    publish(&ports, 1..=4).await;
    let mut consumer = consume(&ports).await;
    let taken = take(&mut *consumer, 2).await;
    consumer.requeue(taken[1].tag).await.unwrap();
    consumer.requeue(taken[0].tag).await.unwrap();
    let mut again = take(&mut *consumer, 4).await;
    if harness.sends_ahead() {
        again.sort_by_key(number);
    }
    assert_eq!(numbers(&again), [1, 2, 3, 4]);
    assert_eq!(again.iter().map(|d| d.redelivered).collect::<Vec<_>>(), [1, 1, 0, 0]);
    let unknown = consumer.requeue(taken[0].tag).await;
    assert!(matches!(unknown, Err(QueueError::Unknown(_))), "{unknown:?}");
}

/// A full lane is a refusal to the publisher, not a dead letter.
pub async fn a_full_lane_refuses_until_it_drains(harness: &dyn Harness) {
    let limits = Limits { lane_messages_max: 5, ..Limits::default() };
    let ports = harness.fresh(limits).await;
    let mut accepted = Vec::new();
    for n in 1..=50 {
        match ports.queue.publish(&order(n)).await {
            Ok(()) => accepted.push(n),
            Err(error) => assert_eq!(error, PublishError::Full),
        }
    }
    assert!((5..=20).contains(&accepted.len()), "{} admitted, 5 is the limit", accepted.len());
    let mut consumer = consume(&ports).await;
    let taken = take(&mut *consumer, accepted.len()).await;
    assert_eq!(numbers(&taken), accepted, "what was refused is not there");
    consumer.ack_through(taken[taken.len() - 1].tag).await.unwrap();
    until("room again", || async { ports.queue.publish(&order(99)).await.ok() }).await;
    assert_eq!(ports.dead.list(10).await.unwrap(), []);
}

/// A limit of n means n + 1 deliveries; then the dead letters, cause `delivery_limit`.
pub async fn a_message_is_delivered_one_time_more_than_the_limit(harness: &dyn Harness) {
    let ports = harness.fresh(Limits { delivery_limit: 3, ..Limits::default() }).await;
    publish(&ports, 1..=1).await;
    let mut consumer = consume(&ports).await;
    for _ in 0..4 {
        let taken = take(&mut *consumer, 1).await;
        consumer.requeue(taken[0].tag).await.unwrap();
    }
    publish(&ports, 2..=2).await;
    assert_eq!(numbers(&take(&mut *consumer, 1).await), [2]);
    assert_dead(&*ports.dead, "delivery_limit", 1).await;
}

/// Too old means the dead letters, cause `expired`, whether somebody consumes or not.
pub async fn an_old_message_is_not_delivered(harness: &dyn Harness) {
    let limits = Limits { message_ttl_ms: 2_000, ..Limits::default() };
    let ports = harness.fresh(limits).await;
    publish(&ports, 1..=2).await;
    harness.pass(limits.message_ttl_ms + 100).await;
    publish(&ports, 3..=3).await;
    let mut consumer = consume(&ports).await;
    assert_eq!(numbers(&take(&mut *consumer, 1).await), [3]);
    assert_dead(&*ports.dead, "expired", 2).await;
    consumer.close().await.unwrap();
    harness.pass(limits.message_ttl_ms + 100).await;
    assert_dead(&*ports.dead, "expired", 3).await;
}

/// A consumer may be raced against anything.
pub async fn a_cancelled_wait_loses_nothing(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    let mut consumer = consume(&ports).await;
    let mut seen = Vec::new();
    for n in 1..=200 {
        ports.queue.publish(&order(n)).await.unwrap();
        let shortly = std::time::Duration::from_micros(u64::from(n) * 7 % 600);
        if let Ok(batch) = timeout(shortly, consumer.next_batch(3)).await {
            seen.extend(numbers(&batch.unwrap()));
        }
    }
    let rest = 200 - seen.len();
    seen.extend(numbers(&take(&mut *consumer, rest).await));
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
}

/// A message that comes while a consumer waits is delivered to it.
pub async fn a_waiting_consumer_wakes(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    let mut consumer = consume(&ports).await;
    assert_idle(&mut *consumer).await;
    let waiting = tokio::spawn(async move { take(&mut *consumer, 1).await });
    publish(&ports, 1..=1).await;
    let taken = timeout(WAIT, waiting).await.expect("it should wake").unwrap();
    assert_eq!(number(&taken[0]), 1);
}

/// No binding, no confirm: a lane's message or an event that nobody takes is an error.
pub async fn what_no_queue_takes_is_unroutable(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    harness.unbind_all().await;
    let lane = ports.queue.publish(&order(1)).await;
    assert!(matches!(lane, Err(PublishError::Unroutable(_))), "{lane:?}");
    let event = super::samples::event(1, contract::events::EventKind::OrderPaid);
    let event = ports.bus.publish(&event).await;
    assert!(matches!(event, Err(PublishError::Unroutable(_))), "{event:?}");
    let notice = super::samples::notice(1, contract::events::Channel::Sms);
    let notice = ports.bus.publish_notice(&notice).await;
    assert!(matches!(notice, Err(PublishError::Unroutable(_))), "{notice:?}");
}

/// A lane that does not exist is unknown.
pub async fn there_is_no_lane_beyond_the_last(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    let beyond = ports.queue.consume(ports.queue.lanes()).await.map(|_| ());
    assert!(matches!(beyond, Err(QueueError::Unknown(_))), "{beyond:?}");
}

/// Ready, in flight and consumers, as an operator sees them.
pub async fn the_depths_of_lanes_are_told(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    publish(&ports, 1..=5).await;
    let mut consumer = consume(&ports).await;
    let taken = take(&mut *consumer, 3).await;
    consumer.ack_through(taken[0].tag).await.unwrap();
    let lane = lane(ports.queue.lanes());
    until("2 ready, 2 in flight, 1 consumer", || async {
        let stats = ports.queue.lane_stats().await.unwrap();
        assert_eq!(stats.len(), usize::from(ports.queue.lanes()));
        let one = stats.iter().find(|i| i.name == crate::topology::lane_queue(lane)).unwrap();
        ((one.depth, one.in_flight, one.consumers) == (2, 2, 1)).then_some(())
    })
    .await;
}

/// Everything confirmed and not acknowledged is there again, in its order.
pub async fn lanes_survive_a_restart(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    publish(&ports, 1..=30).await;
    let mut consumer = consume(&ports).await;
    let taken = take(&mut *consumer, 10).await;
    consumer.ack_through(taken[6].tag).await.unwrap();
    consumer.close().await.unwrap();
    drop(ports);
    let ports = harness.restart(Limits::default()).await;
    publish(&ports, 31..=31).await;
    let mut consumer = consume(&ports).await;
    assert_eq!(numbers(&take(&mut *consumer, 24).await), (8..=31).collect::<Vec<_>>());
    assert_idle(&mut *consumer).await;
}

/// As those for all before them.
pub async fn single_acknowledgements_survive_a_restart(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    publish(&ports, 1..=6).await;
    let mut consumer = consume(&ports).await;
    let taken = take(&mut *consumer, 6).await;
    consumer.ack_each(&[taken[1].tag, taken[2].tag, taken[5].tag]).await.unwrap();
    consumer.close().await.unwrap();
    drop(ports);
    let ports = harness.restart(Limits::default()).await;
    publish(&ports, 7..=7).await;
    let mut consumer = consume(&ports).await;
    assert_eq!(numbers(&take(&mut *consumer, 4).await), [1, 4, 5, 7]);
    assert_idle(&mut *consumer).await;
}

/// A message that was delivered before a restart says so after it.
pub async fn redeliveries_survive_a_restart(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    publish(&ports, 1..=3).await;
    let mut consumer = consume(&ports).await;
    take(&mut *consumer, 2).await;
    consumer.close().await.unwrap();
    drop(ports);
    let ports = harness.restart(Limits::default()).await;
    let mut consumer = consume(&ports).await;
    let again = take(&mut *consumer, 3).await;
    assert_eq!(numbers(&again), [1, 2, 3]);
    assert!(again[..2].iter().all(|d| d.redelivered >= 1), "{again:?}");
    assert!(again[2].redelivered <= u32::from(harness.sends_ahead()), "{again:?}");
}
