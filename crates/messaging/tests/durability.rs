//! What was confirmed is there, whatever happens to the process.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use messaging::contract_suite::samples::{lane, numbers, order};
use messaging::contract_suite::{take, until};
use messaging::embedded::{EmbeddedBroker, EmbeddedOptions};
use messaging::topology::Limits;
use messaging::{OrderQueue, QueueError};
use support::{ManualClock, Place, options};

/// Where the child of the kill test keeps its queue.
const CHILD_FILE: &str = "MESSAGING_TEST_CHILD_FILE";
/// Confirms the parent waits for before it kills.
const CONFIRMS: usize = 300;
/// Publishes the child has under way at any time.
const UNDER_WAY: u32 = 16;

#[tokio::test]
async fn a_broker_dropped_without_close_keeps_what_it_confirmed() {
    let place = Place::new();
    let broker = place.open(options(Limits::default())).await;
    for n in 1..=50 {
        OrderQueue::publish(&*broker, &order(n)).await.unwrap();
    }
    drop(broker);
    let broker = place.open(options(Limits::default())).await;
    let mut consumer = OrderQueue::consume(&*broker, lane(broker.lanes())).await.unwrap();
    assert_eq!(numbers(&take(&mut *consumer, 50).await), (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_copy_of_the_files_at_any_moment_holds_what_was_confirmed_before() {
    let (place, copy) = (Place::new(), Place::new());
    let broker = place.open(options(Limits::default())).await;
    for n in 1..=50 {
        OrderQueue::publish(&*broker, &order(n)).await.unwrap();
    }
    for suffix in ["", "-wal"] {
        let name = format!("queue.db{suffix}");
        std::fs::copy(place.folder.path().join(&name), copy.folder.path().join(&name)).unwrap();
    }
    let after_the_cut = copy.open(options(Limits::default())).await;
    let mut consumer = OrderQueue::consume(&*after_the_cut, lane(broker.lanes())).await.unwrap();
    assert_eq!(numbers(&take(&mut *consumer, 50).await), (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_delivered_before_a_crash_says_so() {
    let place = Place::new();
    let broker = place.open(options(Limits::default())).await;
    for n in 1..=5 {
        OrderQueue::publish(&*broker, &order(n)).await.unwrap();
    }
    let mut consumer = OrderQueue::consume(&*broker, lane(broker.lanes())).await.unwrap();
    take(&mut *consumer, 3).await;
    let marks = tokio::sync::Mutex::new(place.connect().await);
    until("the mark of what was delivered", || async {
        let mut connection = marks.lock().await;
        let mark: i64 =
            sqlx::query_scalar("SELECT max(delivered) FROM queue").fetch_one(&mut *connection).await.unwrap();
        (mark == 3).then_some(())
    })
    .await;
    drop((marks, consumer, broker));
    let broker = place.open(options(Limits::default())).await;
    let mut consumer = OrderQueue::consume(&*broker, lane(broker.lanes())).await.unwrap();
    let again = take(&mut *consumer, 5).await;
    assert_eq!(again.iter().map(|d| d.redelivered).collect::<Vec<_>>(), [1, 1, 1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_keeps_what_it_confirmed() {
    let place = Place::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_that_is_killed", "--ignored", "--nocapture"])
        .env(CHILD_FILE, place.file())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let confirmed = lines.map_while(Result::ok).filter_map(|l| l.strip_prefix("ok ")?.parse::<u32>().ok());
    let confirmed: Vec<u32> = confirmed.take(CONFIRMS).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(confirmed.len(), CONFIRMS, "the child should have come this far");

    let broker = place.open(options(Limits::default())).await;
    let depth = broker.lane_stats().await.unwrap().iter().map(|l| l.depth).sum::<u64>();
    let mut consumer = OrderQueue::consume(&*broker, lane(broker.lanes())).await.unwrap();
    let there = numbers(&take(&mut *consumer, usize::try_from(depth).unwrap()).await);
    for n in confirmed {
        assert!(there.contains(&n), "{n} was confirmed and is gone");
    }
    // One publisher waits for each confirm before its next message, so its messages are in order.
    for publisher in 0..UNDER_WAY {
        let of_one: Vec<_> = there.iter().filter(|n| *n % UNDER_WAY == publisher).collect();
        assert!(of_one.is_sorted(), "{of_one:?}");
    }
}

/// Not a test by itself: publishes until it is killed, and says what was confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by a_killed_process_keeps_what_it_confirmed"]
async fn the_child_that_is_killed() {
    let Some(file) = std::env::var_os(CHILD_FILE) else { return };
    let open = EmbeddedBroker::open(file.as_ref(), EmbeddedOptions::default(), ManualClock::new());
    let broker = open.await.unwrap();
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..UNDER_WAY {
        let broker = Arc::clone(&broker);
        publishers.spawn(async move {
            for n in (publisher..).step_by(UNDER_WAY as usize).skip(1) {
                OrderQueue::publish(&*broker, &order(n)).await.unwrap();
                // The parent is gone when this fails; then there is nobody left to tell.
                if writeln!(std::io::stdout(), "ok {n}").is_err() {
                    return;
                }
            }
        });
    }
    publishers.join_all().await;
}

#[tokio::test]
async fn a_file_has_one_owner() {
    let place = Place::new();
    let broker = place.open(options(Limits::default())).await;
    let hasty = EmbeddedOptions { owner_wait_ms_max: 50, ..EmbeddedOptions::default() };
    let second = EmbeddedBroker::open(&place.file(), hasty.clone(), place.clock.clone()).await.err();
    let Some(QueueError::Refused(why)) = second else { panic!("{second:?}") };
    assert!(why.contains("in use") && why.contains("queue.db"), "{why}");
    broker.close().await.unwrap();
    EmbeddedBroker::open(&place.file(), hasty, place.clock.clone()).await.unwrap();
}

#[tokio::test]
async fn the_number_of_lanes_changes_only_while_they_are_empty() {
    let place = Place::new();
    let lanes = |lanes| EmbeddedOptions { lanes, ..EmbeddedOptions::default() };
    let broker = place.open(lanes(2)).await;
    OrderQueue::publish(&*broker, &order(1)).await.unwrap();
    broker.close().await.unwrap();
    let refused = EmbeddedBroker::open(&place.file(), lanes(3), place.clock.clone()).await.err();
    assert!(matches!(&refused, Some(QueueError::Refused(why)) if why.contains("2 lanes")), "{refused:?}");
    let broker = place.open(lanes(2)).await;
    let mut consumer = OrderQueue::consume(&*broker, lane(2)).await.unwrap();
    let taken = take(&mut *consumer, 1).await;
    consumer.ack_through(taken[0].tag).await.unwrap();
    consumer.close().await.unwrap();
    broker.close().await.unwrap();
    assert_eq!(place.open(lanes(3)).await.lanes(), 3);
}

#[tokio::test]
async fn a_closed_broker_says_so() {
    let place = Place::new();
    let broker = place.open(options(Limits::default())).await;
    let lane = lane(broker.lanes());
    let mut consumer = OrderQueue::consume(&*broker, lane).await.unwrap();
    let waiting = tokio::spawn(async move { consumer.next_batch(1).await });
    let next_in_line = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { OrderQueue::consume(&*broker, lane).await.map(|_| ()) }
    });
    until("both wait", || async {
        let stats = broker.lane_stats().await.unwrap();
        (stats[usize::from(lane)].consumers == 2).then_some(())
    })
    .await;
    broker.close().await.unwrap();
    broker.close().await.unwrap();
    assert_eq!(waiting.await.unwrap(), Err(QueueError::Closed));
    assert_eq!(next_in_line.await.unwrap(), Err(QueueError::Closed));
    assert!(OrderQueue::publish(&*broker, &order(1)).await.is_err());
    let wal = std::fs::metadata(place.folder.path().join("queue.db-wal")).map_or(0, |m| m.len());
    assert_eq!(wal, 0, "all is folded into the database");
}
