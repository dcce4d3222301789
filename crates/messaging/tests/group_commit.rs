//! No confirm before the commit that holds the message; and what happens when there is no commit.

mod support;

use std::sync::Arc;
use std::time::Duration;

use contract::events::{Change, SaleBroadcast, SaleNews};
use messaging::contract_suite::samples::{lane, number, numbers, order, sale};
use messaging::contract_suite::{NOT_WITHIN, WAIT, assert_idle, take, until};
use messaging::embedded::EmbeddedOptions;
use messaging::topology::Limits;
use messaging::{DeadLetters, Delivery, EventBus, OrderQueue, PublishError, QueueError};
use sqlx::Connection;
use support::{Place, options};
use tokio::time::timeout;

#[tokio::test]
async fn what_is_confirmed_is_visible_to_another_process_at_once() {
    let place = Place::new();
    let broker = place.open(options(Limits::default())).await;
    for n in 1..=20 {
        OrderQueue::publish(&*broker, &order(n)).await.unwrap();
        let stored = place.stored().await;
        assert_eq!(stored.len(), n as usize, "confirmed, but not committed");
        assert_eq!(stored.last().unwrap(), &serde_json::to_vec(&order(n)).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_confirmed_while_another_process_holds_the_database() {
    let place = Place::new();
    let broker = place.open(options(Limits::default())).await;
    let mut other = place.connect().await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let mut publishes = tokio::task::JoinSet::new();
    for n in 1..=40 {
        let broker = Arc::clone(&broker);
        publishes.spawn(async move { OrderQueue::publish(&*broker, &order(n)).await });
    }
    let early = timeout(NOT_WITHIN, publishes.join_next()).await;
    assert!(early.is_err(), "confirmed without a commit: {early:?}");
    lock.rollback().await.unwrap();
    let confirmed = timeout(WAIT, publishes.join_all()).await.expect("the lock is gone");
    assert!(confirmed.iter().all(Result::is_ok), "{confirmed:?}");
    assert_eq!(place.stored().await.len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_waits_no_longer_than_its_bound() {
    let place = Place::new();
    let patience = EmbeddedOptions { publish_wait_ms_max: 100, ..EmbeddedOptions::default() };
    let broker = place.open(patience).await;
    let mut other = place.connect().await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let publish = timeout(Duration::from_secs(3), OrderQueue::publish(&*broker, &order(1))).await;
    assert!(matches!(publish, Ok(Err(PublishError::Unconfirmed(_)))), "{publish:?}");
    lock.rollback().await.unwrap();
    until("confirms again", || async { OrderQueue::publish(&*broker, &order(2)).await.ok() }).await;
}

#[tokio::test]
async fn a_failing_storage_confirms_nothing_and_recovers_by_itself() {
    let place = Place::new();
    let broker = place.open(options(Limits::default())).await;
    OrderQueue::publish(&*broker, &order(1)).await.unwrap();
    let mut other = place.connect().await;
    sqlx::raw_sql("CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        .execute(&mut other)
        .await
        .unwrap();
    for n in 2..=4 {
        let failed = OrderQueue::publish(&*broker, &order(n)).await;
        let told = matches!(&failed, Err(PublishError::Unconfirmed(why)) if why.contains("disk full"));
        assert!(told, "{failed:?}");
    }
    let mut consumer = OrderQueue::consume(&*broker, lane(broker.lanes())).await.unwrap();
    let before = take(&mut *consumer, 1).await;
    consumer.ack_through(before[0].tag).await.unwrap();
    sqlx::raw_sql("DROP TRIGGER full").execute(&mut other).await.unwrap();
    until("confirms again", || async { OrderQueue::publish(&*broker, &order(5)).await.ok() }).await;
    assert_eq!(numbers(&take(&mut *consumer, 1).await), [5], "and nothing of what failed");
    assert_eq!(place.stored().await.len(), 1, "the acknowledgement went through as well");
}

#[tokio::test]
async fn acknowledgements_that_cannot_be_written_are_owed_not_lost() {
    let place = Place::new();
    let broker = place.open(options(Limits::default())).await;
    for n in 1..=3 {
        OrderQueue::publish(&*broker, &order(n)).await.unwrap();
    }
    let mut other = place.connect().await;
    sqlx::raw_sql("CREATE TRIGGER no BEFORE DELETE ON message BEGIN SELECT RAISE(ABORT, 'no'); END")
        .execute(&mut other)
        .await
        .unwrap();
    let mut consumer = OrderQueue::consume(&*broker, lane(broker.lanes())).await.unwrap();
    let taken = take(&mut *consumer, 3).await;
    consumer.ack_through(taken[1].tag).await.unwrap();
    let rejected = consumer.reject(taken[2].tag).await;
    assert!(matches!(rejected, Err(QueueError::Unreachable(_))), "{rejected:?}");
    assert_eq!(broker.list(10).await.unwrap(), [], "a burial is all or nothing");
    sqlx::raw_sql("DROP TRIGGER no").execute(&mut other).await.unwrap();
    until("the owed deletions", || async { (place.stored().await.len() == 1).then_some(()) }).await;
    consumer.reject(taken[2].tag).await.unwrap();
    assert_eq!(place.stored().await.len(), 0);
    assert_idle(&mut *consumer).await;
}

#[tokio::test]
async fn a_replay_is_one_step() {
    let place = Place::new();
    let broker = place.open(options(Limits::default())).await;
    OrderQueue::publish(&*broker, &order(1)).await.unwrap();
    let mut consumer = OrderQueue::consume(&*broker, lane(broker.lanes())).await.unwrap();
    let taken = take(&mut *consumer, 1).await;
    consumer.reject(taken[0].tag).await.unwrap();
    let letter = broker.list(1).await.unwrap().remove(0);
    let mut other = place.connect().await;
    sqlx::raw_sql("CREATE TRIGGER no BEFORE DELETE ON dead BEGIN SELECT RAISE(ABORT, 'no'); END")
        .execute(&mut other)
        .await
        .unwrap();
    assert!(broker.replay(&letter.id).await.is_err());
    assert_eq!(place.stored().await.len(), 0, "put back, but still among the dead");
    sqlx::raw_sql("DROP TRIGGER no").execute(&mut other).await.unwrap();
    broker.replay(&letter.id).await.unwrap();
    assert_eq!(number(&take(&mut *consumer, 1).await[0]), 1);
}

#[tokio::test]
async fn a_backlog_larger_than_memory_comes_in_the_order_of_its_commits() {
    let place = Place::new();
    let broker = place.open(options(Limits::default())).await;
    for first in (1..=12_000).step_by(500) {
        let publish = |n| {
            let broker = Arc::clone(&broker);
            async move { OrderQueue::publish(&*broker, &order(n)).await.unwrap() }
        };
        futures_util::future::join_all((first..first + 500).map(publish)).await;
    }
    let committed = place.stored().await;
    let bodies = |taken: &[Delivery]| taken.iter().map(|d| d.body.clone()).collect::<Vec<_>>();
    let mut consumer = OrderQueue::consume(&*broker, lane(broker.lanes())).await.unwrap();
    let first = take(&mut *consumer, 9_000).await;
    assert!(bodies(&first) == committed[..9_000], "out of order");
    consumer.ack_through(first[2_999].tag).await.unwrap();
    consumer.close().await.unwrap();
    let mut consumer = OrderQueue::consume(&*broker, lane(broker.lanes())).await.unwrap();
    let rest = take(&mut *consumer, 9_000).await;
    assert!(bodies(&rest) == committed[3_000..], "out of order after the return");
    consumer.ack_through(rest[8_999].tag).await.unwrap();
    until("the file is empty", || async { place.stored().await.is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn a_listener_that_lags_is_told() {
    let place = Place::new();
    let broker = place.open(options(Limits::default())).await;
    let mut listener = broker.broadcasts().await.unwrap();
    for n in 0..3_000 {
        let news = SaleBroadcast { sale: sale(), change: Change { epoch: 1, n }, news: SaleNews::SoldOut };
        broker.broadcast(&news).await.unwrap();
    }
    assert_eq!(listener.next().await.unwrap(), None);
    assert!(listener.next().await.unwrap().is_some(), "and then hears on");
    broker.close().await.unwrap();
    assert_eq!(listener.next().await, Err(QueueError::Closed));
}
