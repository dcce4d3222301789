//! Two relays on one outbox: everything is told, and nothing by both.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::UnixMillis;
use messaging::embedded::{EmbeddedBroker, EmbeddedOptions};
use service_kit::SystemClock;
use sqlx::{Connection, Executor};
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::super::super::contract_suite::{START, order};
use super::super::work::LEASE_MS;
use super::{Bench, PostgresStore, fresh_pair};
use crate::order_store::{OrderStore, OutboxRow};

/// How long an event may take to pass from one replica to another.
const PATIENCE: Duration = Duration::from_secs(10);

/// `n` events, told to nobody yet, committed by the first of two replicas.
async fn events(n: u32) -> (Bench, PostgresStore) {
    let (bench, other) = fresh_pair().await;
    let bench = bench.with_sale(n, 1).await;
    for n in 1..=n {
        bench.commit(&[order(n, &format!("b{n}"), 1)]).await;
    }
    (bench, other)
}

fn seqs(rows: &[OutboxRow]) -> BTreeSet<i64> {
    rows.iter().map(|row| row.seq).collect()
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn an_event_is_told_by_the_replica_that_committed_it() {
    let (bench, other) = events(2).await;
    assert_eq!(other.outbox(9).await.unwrap(), []);
    let mine = bench.store.outbox(9).await.unwrap();
    assert_eq!(mine.len(), 2);
    bench.store.outbox_told(&[mine[0].seq]).await.unwrap();
    assert_eq!(seqs(&bench.store.outbox(9).await.unwrap()), BTreeSet::from([mine[1].seq]));
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn what_a_dead_replica_left_is_told_by_the_others_once() {
    let (bench, other) = events(40).await;
    let third = PostgresStore::open(&bench.url(), 2).await.unwrap();
    bench.pass(LEASE_MS).await;
    let mut told = BTreeSet::new();
    while told.len() < 40 {
        let (a, b) = tokio::join!(other.outbox(8), third.outbox(8));
        let (a, b) = (seqs(&a.unwrap()), seqs(&b.unwrap()));
        assert_eq!(a.intersection(&b).count(), 0, "each by one");
        assert!(!a.is_empty() || !b.is_empty(), "only {} of 40 are told", told.len());
        other.outbox_told(&a.iter().copied().collect::<Vec<_>>()).await.unwrap();
        third.outbox_told(&b.iter().copied().collect::<Vec<_>>()).await.unwrap();
        told.extend(a);
        told.extend(b);
    }
    assert_eq!(bench.store.outbox(9).await.unwrap(), [], "marked after it was told");
}

/// Another relay stands still in the middle of taking an event, as long as a test likes.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_relay_takes_what_no_other_is_taking_and_waits_for_none() {
    let (bench, other) = events(9).await;
    bench.pass(LEASE_MS).await;
    let mut third = bench.connect().await;
    let mut taking = third.begin().await.unwrap();
    let held: i64 = sqlx::query_scalar("select seq from outbox order by seq limit 1 for update")
        .fetch_one(&mut *taking)
        .await
        .unwrap();
    let taken = seqs(&other.outbox(9).await.unwrap());
    assert!(taken.len() == 8 && !taken.contains(&held), "{taken:?} without {held}");
    taking.rollback().await.unwrap();
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_replica_that_is_still_telling_keeps_its_events() {
    let (bench, other) = events(1).await;
    for _ in 0..3 {
        bench.pass(LEASE_MS * 3 / 4).await;
        assert_eq!(bench.store.outbox(9).await.unwrap().len(), 1, "held anew");
        assert_eq!(other.outbox(9).await.unwrap(), []);
    }
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_replica_that_the_broker_does_not_hear_leaves_its_events_to_the_others() {
    let (bench, other) = events(1).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, options) = (folder.path().join("queue.db"), EmbeddedOptions::default());
    let broker = EmbeddedBroker::open(&file, options, Arc::new(SystemClock)).await.unwrap();
    broker.close().await.unwrap();
    let stop = CancellationToken::new();
    let relay = tokio::spawn(crate::relay::run(bench.store.clone(), broker, stop.clone()));
    let patience_ends = Instant::now() + PATIENCE;
    while other.outbox(9).await.unwrap().is_empty() {
        // The database's time stands still, so no lease ends by itself.
        assert!(Instant::now() < patience_ends, "the other replica does not get it");
        sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    relay.await.unwrap();
}

/// Sequences are drawn before commits: an event may appear below others that were told long ago.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn an_event_that_commits_after_a_younger_one_is_told() {
    let (bench, _other) = events(1).await;
    let mut slow = bench.connect().await;
    let mut tx = slow.begin().await.unwrap();
    tx.execute(
        "insert into outbox (epoch, at, held_until, holder, late, kind, sale, orders)
         values (1, 0, 0, gen_random_uuid(), false, 'order.expired', 'lamp', '{}')",
    )
    .await
    .unwrap();
    bench.commit(&[order(2, "b2", 1)]).await;
    let younger = bench.store.outbox(9).await.unwrap();
    assert_eq!(younger.len(), 2);
    bench.store.outbox_told(&seqs(&younger).into_iter().collect::<Vec<_>>()).await.unwrap();
    tx.commit().await.unwrap();
    let late = bench.store.outbox(9).await.unwrap();
    assert!(late.len() == 1 && late[0].seq < younger[1].seq, "{late:?}");
    assert_eq!(late[0].event.at, UnixMillis(0));
    assert!(younger[1].event.at >= START);
}
