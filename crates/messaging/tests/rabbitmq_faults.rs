//! What must hold when connections, bindings and confirms are lost, on a real RabbitMQ.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/rabbit.rs"]
mod rabbit;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use contract::events::{Channel, EventKind};
use messaging::contract_suite::samples::{event, lane, notice, numbers, order};
use messaging::contract_suite::{WAIT, assert_idle, take, until};
use messaging::rabbitmq::{Addresses, LogStart, RabbitBroker, RabbitOptions};
use messaging::topology::{self, Limits};
use messaging::{EventBus, OrderQueue, PublishError};
use proxy::Proxy;
use rabbit::{Vhost, variable};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const PUBLISHERS: u32 = 256;
/// Messages for other queues beside a full one, and how many of them may be lost with their channel: it is opened anew
/// at 0, 1, 3, 7 s, …, and each time one of them at most is under way.
const OTHERS: u32 = 200;
const OTHERS_LOST_MAX: u32 = 10;
/// How long a publish may take when all is well but slow.
const BOUND: Duration = Duration::from_millis(2_000);

fn options() -> RabbitOptions {
    RabbitOptions { lanes: 2, publish_wait: BOUND, ..RabbitOptions::default() }
}

/// What became of a storm of publishes.
#[derive(Default)]
struct Storm {
    confirmed: BTreeSet<u32>,
    full: usize,
    unroutable: usize,
    unconfirmed: usize,
}

/// Publishes orders until told to stop, each once.
fn storm(broker: &Arc<RabbitBroker>, stop: &Arc<AtomicBool>, published: &Arc<AtomicU32>) -> JoinSet<Storm> {
    let mut publishers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let (broker, stop, published) = (broker.clone(), stop.clone(), published.clone());
        publishers.spawn(async move {
            let mut storm = Storm::default();
            while !stop.load(Ordering::SeqCst) {
                let n = published.fetch_add(1, Ordering::SeqCst) + 1;
                match OrderQueue::publish(&*broker, &order(n)).await {
                    Ok(()) => drop(storm.confirmed.insert(n)),
                    Err(PublishError::Full) => storm.full += 1,
                    Err(PublishError::Unroutable(_)) => storm.unroutable += 1,
                    Err(PublishError::Unconfirmed(_)) => {
                        storm.unconfirmed += 1;
                        // As long as there is no connection this is immediate.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
            storm
        });
    }
    publishers
}

async fn end(stop: &AtomicBool, publishers: JoinSet<Storm>) -> Storm {
    stop.store(true, Ordering::SeqCst);
    let storms = timeout(WAIT, publishers.join_all()).await.expect("every publish is bounded");
    storms.into_iter().fold(Storm::default(), |mut all, one| {
        all.confirmed.extend(one.confirmed);
        all.full += one.full;
        all.unroutable += one.unroutable;
        all.unconfirmed += one.unconfirmed;
        all
    })
}

/// Everything in the samples' lane.
async fn in_the_lane(broker: &RabbitBroker) -> Vec<u32> {
    let mut consumer = OrderQueue::consume(broker, lane(broker.lanes())).await.unwrap();
    let mut found = Vec::new();
    while let Ok(batch) = timeout(Duration::from_secs(2), consumer.next_batch(1_000)).await {
        let batch = batch.unwrap();
        consumer.ack_through(batch[batch.len() - 1].tag).await.unwrap();
        found.extend(numbers(&batch));
    }
    found
}

async fn more(published: &AtomicU32, count: u32) {
    let from = published.load(Ordering::SeqCst);
    until("more publishes", || async { (published.load(Ordering::SeqCst) > from + count).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn no_confirmed_message_is_lost_with_its_connection() {
    let vhost = Vhost::new();
    let broker = vhost.open(options()).await;
    let (stop, published) = (Arc::default(), Arc::default());
    let publishers = storm(&broker, &stop, &published);
    for _ in 0..3 {
        more(&published, 2_000).await;
        vhost.close_connections(2).await;
        until("connected again", || async { broker.readiness().ok() }).await;
    }
    more(&published, 2_000).await;
    let storm = end(&stop, publishers).await;
    assert!(storm.unconfirmed > 0, "no connection was cut under way");
    assert_eq!((storm.full, storm.unroutable), (0, 0));
    let found: BTreeSet<u32> = in_the_lane(&broker).await.into_iter().collect();
    let lost: Vec<_> = storm.confirmed.difference(&found).collect();
    assert!(lost.is_empty(), "{} confirmed messages are lost: {lost:?}", lost.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn a_binding_taken_away_is_noticed_at_every_message_and_comes_back() {
    let vhost = Vhost::new();
    let broker = vhost.open(options()).await;
    let (stop, published) = (Arc::default(), Arc::default());
    let publishers = storm(&broker, &stop, &published);
    more(&published, 2_000).await;
    // Notices go the same way at the same time: none of them may be taken for an order.
    let noticing = tokio::spawn({
        let (broker, stop) = (broker.clone(), Arc::<AtomicBool>::clone(&stop));
        async move {
            let mut n = 0;
            while !stop.load(Ordering::SeqCst) {
                n += 1;
                broker.publish_notice(&notice(n, Channel::Email)).await.unwrap();
            }
        }
    });
    vhost.unbind(|queue| queue.starts_with("seckill.orders."));
    more(&published, 5_000).await;
    let storm = end(&stop, publishers).await;
    noticing.await.unwrap();
    assert!(storm.unroutable > 0, "the binding was not taken away in time");
    assert_eq!(storm.unconfirmed, 0);
    let found: BTreeSet<u32> = in_the_lane(&broker).await.into_iter().collect();
    assert_eq!(found, storm.confirmed, "what is in the lane is what was confirmed");
    until("the binding is declared again", || async { OrderQueue::publish(&*broker, &order(1)).await.ok() })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn lost_confirms_are_unknown_within_the_bound_and_the_republish_has_the_same_id() {
    let vhost = Vhost::new();
    let proxy = Proxy::start(authority()).await;
    let broker = vhost.open_at(&vhost.url(Some(proxy.port)), options()).await;
    proxy.behaviour.swallows_confirms.store(true, Ordering::SeqCst);
    let asked = Instant::now();
    let first = OrderQueue::publish(&*broker, &order(1)).await;
    assert!(matches!(first, Err(PublishError::Unconfirmed(_))), "{first:?}");
    assert!(asked.elapsed() < BOUND + Duration::from_millis(500), "{:?}", asked.elapsed());
    assert!(proxy.behaviour.swallowed.load(Ordering::SeqCst) > 0);
    proxy.behaviour.swallows_confirms.store(false, Ordering::SeqCst);
    let channels = || proxy.behaviour.channels.load(Ordering::SeqCst);
    until("a channel that may confirm", || async { (channels() > 1).then_some(()) }).await;
    until("the channel confirms again", || async { OrderQueue::publish(&*broker, &order(1)).await.ok() })
        .await;
    let found = in_the_lane(&broker).await;
    assert!(found.len() >= 2 && found.iter().all(|n| *n == 1), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn a_refusal_that_no_full_queue_explains_opens_the_channel_anew() {
    let vhost = Vhost::new();
    let proxy = Proxy::start(authority()).await;
    let broker = vhost.open_at(&vhost.url(Some(proxy.port)), options()).await;
    OrderQueue::publish(&*broker, &order(1)).await.unwrap();
    let channels = || proxy.behaviour.channels.load(Ordering::SeqCst);
    assert_eq!(channels(), 1);
    proxy.behaviour.refuses.store(true, Ordering::SeqCst);
    let refused = OrderQueue::publish(&*broker, &order(2)).await;
    assert!(matches!(refused, Err(PublishError::Unconfirmed(_))), "nobody knows: {refused:?}");
    proxy.behaviour.refuses.store(false, Ordering::SeqCst);
    until("another channel", || async { (channels() == 2).then_some(()) }).await;
    until("it confirms", || async { OrderQueue::publish(&*broker, &order(3)).await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn a_connection_that_hangs_is_replaced_on_the_next_node() {
    let vhost = Vhost::new();
    let proxy = Proxy::start(authority()).await;
    let (through, direct) = (vhost.url(Some(proxy.port)), authority());
    let both = through.replacen(&format!(":{}/", proxy.port), &format!(":{},{direct}/", proxy.port), 1);
    let broker = vhost.open_at(&both, options()).await;
    let mut consumer = OrderQueue::consume(&*broker, lane(broker.lanes())).await.unwrap();
    OrderQueue::publish(&*broker, &order(1)).await.unwrap();
    assert_eq!(numbers(&take(&mut *consumer, 1).await), [1]);
    proxy.freeze();
    let ended = timeout(WAIT, consumer.next_batch(1)).await.expect("the consumer is told");
    assert!(ended.is_err(), "{ended:?}");
    let next = until("publishing and consuming again", || async {
        OrderQueue::publish(&*broker, &order(2)).await.ok()?;
        OrderQueue::consume(&*broker, lane(broker.lanes())).await.ok()
    });
    let mut next = next.await;
    // The broker still believes in the first consumer until it misses its heartbeats.
    let found = timeout(WAIT, next.next_batch(10)).await.expect("the lane goes on").unwrap();
    assert_eq!(found[0].redelivered, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn stop_and_wait_keeps_one_publish_under_way() {
    let vhost = Vhost::new();
    let proxy = Proxy::start(authority()).await;
    let one = RabbitOptions { confirm_window: 1, ..options() };
    let broker = vhost.open_at(&vhost.url(Some(proxy.port)), one).await;
    let publish = |n| {
        let broker = broker.clone();
        async move { OrderQueue::publish(&*broker, &order(n)).await }
    };
    let all: JoinSet<_> = (1..=100).map(publish).collect();
    assert!(all.join_all().await.iter().all(Result::is_ok));
    proxy.behaviour.swallows_confirms.store(true, Ordering::SeqCst);
    let none: JoinSet<_> = (101..=105).map(publish).collect();
    assert!(none.join_all().await.iter().all(Result::is_err));
    let found = in_the_lane(&broker).await;
    let late: Vec<_> = found.iter().filter(|n| **n > 100).collect();
    assert!(late.len() <= 1, "{late:?} went out while one confirm was awaited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn a_full_lane_is_told_at_once_and_does_not_hold_up_the_others() {
    let vhost = Vhost::new();
    let limits = Limits { lane_messages_max: 100, ..Limits::default() };
    let broker = vhost.open(RabbitOptions { limits, ..options() }).await;
    let (stop, published) = (Arc::default(), Arc::default());
    let publishers = storm(&broker, &stop, &published);
    more(&published, 5_000).await;
    for n in 1..=20 {
        EventBus::publish(&*broker, &event(n, EventKind::OrderPaid)).await.unwrap();
    }
    let storm = end(&stop, publishers).await;
    assert!(storm.full > 1_000, "{} refused", storm.full);
    assert_eq!((storm.unconfirmed, storm.unroutable), (0, 0), "a full queue is no trouble");
    let found: BTreeSet<u32> = in_the_lane(&broker).await.into_iter().collect();
    assert_eq!(found, storm.confirmed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn a_lane_that_a_policy_limits_does_not_hold_up_the_others() {
    let vhost = Vhost::new();
    let broker = vhost.open(options()).await;
    let policy = r#"{"pattern": "^seckill\\.orders\\.lane-", "apply-to": "queues",
        "definition": {"max-length": 100, "overflow": "reject-publish"}}"#;
    let (status, body) = vhost.api.ask("PUT", &format!("/policies/{}/small-lanes", vhost.name), policy);
    assert!(status < 300, "{status}: {body}");
    let (stop, published) = (Arc::default(), Arc::default());
    let publishers = storm(&broker, &stop, &published);
    more(&published, 5_000).await;
    // On the same channel. Whatever is under way when it is opened anew is not confirmed.
    let mut lost = 0;
    for n in 1..=OTHERS {
        lost += u32::from(EventBus::publish(&*broker, &event(n, EventKind::OrderPaid)).await.is_err());
    }
    let storm = end(&stop, publishers).await;
    assert!(storm.unconfirmed > 1_000, "{} refused: the policy limits nothing", storm.unconfirmed);
    assert!(lost <= OTHERS_LOST_MAX, "{lost} of {OTHERS} for other queues went down with the full one's");
    assert_eq!(storm.unroutable, 0);
    let found: BTreeSet<u32> = in_the_lane(&broker).await.into_iter().collect();
    let missing: Vec<_> = storm.confirmed.difference(&found).collect();
    assert!(missing.is_empty(), "{} confirmed messages are lost: {missing:?}", missing.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn the_log_is_read_again_from_any_place() {
    let vhost = Vhost::new();
    let broker = vhost.open(options()).await;
    for n in 1..=300 {
        EventBus::publish(&*broker, &event(n, EventKind::OrderPaid)).await.unwrap();
    }
    let read = async |start, count: usize| {
        let mut log = messaging::open_log(&vhost.url(None), start).await.unwrap();
        let mut found = Vec::new();
        while found.len() < count {
            found.push(timeout(WAIT, log.next()).await.expect("more of the log").unwrap());
        }
        (found, log)
    };
    let (all, _) = read(LogStart::First, 300).await;
    assert!(all.iter().zip(0..).all(|(logged, offset)| logged.offset == offset));
    assert!(all.iter().zip(1..).all(|(logged, n)| logged.event == Ok(event(n, EventKind::OrderPaid))));
    let (some, mut log) = read(LogStart::Offset(290), 10).await;
    assert_eq!(some, all[290..]);
    assert!(timeout(Duration::from_millis(200), log.next()).await.is_err(), "the end is waited at");
    EventBus::publish(&*broker, &event(301, EventKind::OrderExpired)).await.unwrap();
    let next = timeout(WAIT, log.next()).await.expect("what comes is heard").unwrap();
    assert_eq!((next.offset, next.event), (300, Ok(event(301, EventKind::OrderExpired))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn a_service_that_counts_lanes_otherwise_does_not_become_ready() {
    let vhost = Vhost::new();
    let broker = vhost.open(options()).await;
    let addresses = Addresses::parse(&vhost.url(None)).unwrap();
    let other = RabbitBroker::start(&addresses, RabbitOptions { lanes: 3, ..options() });
    let why = until("it says why", || async {
        other.readiness().err().filter(|why| why.contains("seckill.lanes"))
    })
    .await;
    assert!(why.contains("PRECONDITION"), "{why}");
    let refused = OrderQueue::publish(&*other, &order(1)).await;
    assert!(matches!(refused, Err(PublishError::Unconfirmed(_))), "{refused:?}");
    broker.close().await;
    let closed = OrderQueue::publish(&*broker, &order(1)).await;
    assert!(matches!(closed, Err(PublishError::Unconfirmed(_))), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn closing_settles_what_is_under_way() {
    let vhost = Vhost::new();
    let broker = vhost.open(options()).await;
    let publishing: JoinSet<_> = (1..=500)
        .map(|n| {
            let broker = broker.clone();
            async move { (n, OrderQueue::publish(&*broker, &order(n)).await.is_ok()) }
        })
        .collect();
    broker.close().await;
    let told = publishing.join_all().await;
    let confirmed: BTreeSet<u32> = told.into_iter().filter(|(_, ok)| *ok).map(|(n, _)| n).collect();
    let again = vhost.open(options()).await;
    let found: BTreeSet<u32> = in_the_lane(&again).await.into_iter().collect();
    assert_eq!(found, confirmed, "each was confirmed or is not there");
    let mut consumer = OrderQueue::consume(&*again, lane(again.lanes())).await.unwrap();
    assert_idle(&mut *consumer).await;
}

/// The broker's host and port.
fn authority() -> String {
    let url = variable("TEST_AMQP_URL");
    let authority = url.trim_start_matches("amqp://").split('/').next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn a_channel_that_the_broker_closed_is_opened_anew() {
    let vhost = Vhost::new();
    let broker = vhost.open(options()).await;
    let publish = async |n| EventBus::publish(&*broker, &event(n, EventKind::OrderPaid)).await;
    publish(1).await.unwrap();
    // An operator's slip. The broker answers a publish to an exchange that is gone by closing its channel, and only
    // that: the connection stays, and so would a channel that nobody looks at.
    let (status, body) =
        vhost.api.ask("DELETE", &format!("/exchanges/{}/{}", vhost.name, topology::EVENTS), "");
    assert_eq!(status, 204, "{body}");
    until("it is missed", || async { publish(2).await.err() }).await;
    // Declared anew within ten seconds.
    until("events go again", || async { publish(3).await.ok() }).await;
    OrderQueue::publish(&*broker, &order(1)).await.unwrap();
}
