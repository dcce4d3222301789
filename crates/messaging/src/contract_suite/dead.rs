//! Properties of the dead letters.

use contract::api::DeadLetter;
use tokio::time::timeout;

use super::samples::{lane, numbers, order};
use super::{Harness, Ports, WAIT, assert_dead, assert_idle, take, until};
use crate::topology::{Limits, lane_queue};
use crate::{Consumer, QueueError};

async fn consume(ports: &Ports) -> Box<dyn Consumer> {
    let lane = lane(ports.queue.lanes());
    timeout(WAIT, ports.queue.consume(lane)).await.expect("the lane should be free").unwrap()
}

/// Publishes `count` orders and rejects them all.
async fn reject(ports: &Ports, count: u32) {
    let mut consumer = consume(ports).await;
    for n in 1..=count {
        ports.queue.publish(&order(n)).await.unwrap();
        let taken = take(&mut *consumer, 1).await;
        consumer.reject(taken[0].tag).await.unwrap();
    }
    consumer.close().await.unwrap();
}

async fn only_letter(ports: &Ports) -> DeadLetter {
    until("one dead letter", || async {
        let mut letters = ports.dead.list(10).await.unwrap();
        (letters.len() == 1).then(|| letters.remove(0))
    })
    .await
}

/// Whole, with its cause and where it died; the others go on.
pub async fn a_rejected_message_becomes_a_dead_letter(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    for n in 1..=3 {
        ports.queue.publish(&order(n)).await.unwrap();
    }
    let mut consumer = consume(&ports).await;
    let taken = take(&mut *consumer, 3).await;
    consumer.reject(taken[1].tag).await.unwrap();
    let unknown = consumer.reject(taken[1].tag).await;
    assert!(matches!(unknown, Err(QueueError::Unknown(_))), "{unknown:?}");
    consumer.close().await.unwrap();
    let letter = only_letter(&ports).await;
    assert_eq!((letter.queue, letter.reason.as_str()), (lane_queue(lane(ports.queue.lanes())), "rejected"));
    assert_eq!(letter.body.as_bytes(), taken[1].body);
    let mut next = consume(&ports).await;
    assert_eq!(numbers(&take(&mut *next, 2).await), [1, 3]);
    until("the depth of the cause's queue", || async {
        let stats = ports.dead.stats().await.unwrap();
        let depth = |name| stats.iter().find(|i| i.name == name).map(|i| i.depth);
        (depth("seckill.dead.rejected") == Some(1) && depth("seckill.dead.expired") == Some(0)).then_some(())
    })
    .await;
}

/// Back in its queue and out of the dead letters, in one step; the second time it is not there.
pub async fn a_dead_letter_is_replayed_once(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    reject(&ports, 1).await;
    let letter = only_letter(&ports).await;
    ports.dead.replay(&letter.id).await.unwrap();
    assert_eq!(ports.dead.list(10).await.unwrap(), []);
    let again = ports.dead.replay(&letter.id).await;
    assert!(matches!(again, Err(QueueError::Unknown(_))), "{again:?}");
    let nonsense = ports.dead.replay("no-such-letter").await;
    assert!(matches!(nonsense, Err(QueueError::Unknown(_))), "{nonsense:?}");
    let mut consumer = consume(&ports).await;
    let taken = take(&mut *consumer, 1).await;
    assert_eq!((numbers(&taken), taken[0].redelivered), (vec![1], 0));
    assert_idle(&mut *consumer).await;
}

/// A replay that fails changes nothing.
pub async fn a_dead_letter_stays_when_its_queue_is_full(harness: &dyn Harness) {
    let ports = harness.fresh(Limits { lane_messages_max: 2, ..Limits::default() }).await;
    reject(&ports, 1).await;
    let letter = only_letter(&ports).await;
    until("the lane is full", || async { ports.queue.publish(&order(2)).await.err() }).await;
    let refused = ports.dead.replay(&letter.id).await;
    assert!(matches!(refused, Err(QueueError::Refused(_))), "{refused:?}");
    assert_eq!(only_letter(&ports).await, letter);
}

/// The oldest of a cause give way.
pub async fn dead_letters_are_bounded(harness: &dyn Harness) {
    let ports = harness.fresh(Limits { dead_letters_max: 3, ..Limits::default() }).await;
    reject(&ports, 8).await;
    assert_dead(&*ports.dead, "rejected", 3).await;
    let letters = ports.dead.list(10).await.unwrap();
    let last = |n: u32| serde_json::to_string(&order(n)).unwrap();
    assert_eq!(letters.iter().map(|l| l.body.clone()).collect::<Vec<_>>(), [last(6), last(7), last(8)]);
    assert_eq!(ports.dead.list(2).await.unwrap().len(), 2, "the limit holds");
}

/// They wait for a person, who may come tomorrow.
pub async fn dead_letters_survive_a_restart(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    reject(&ports, 1).await;
    let before = only_letter(&ports).await;
    drop(ports);
    let ports = harness.restart(Limits::default()).await;
    let letter = only_letter(&ports).await;
    assert_eq!(letter.body, before.body);
    ports.dead.replay(&letter.id).await.unwrap();
    let mut consumer = consume(&ports).await;
    assert_eq!(numbers(&take(&mut *consumer, 1).await), [1]);
}
