//! Properties of the event bus.

use std::collections::HashSet;

use contract::events::{Change, Channel, EventKind, SaleBroadcast, SaleNews};
use tokio::time::timeout;

use super::samples::{event, event_id, notice, notice_id, sale};
use super::{Harness, Ports, WAIT, assert_dead, assert_idle, take, until};
use crate::topology::Limits;
use crate::{Consumer, PublishError, Subscription};

async fn consume(ports: &Ports, subscription: Subscription) -> Box<dyn Consumer> {
    timeout(WAIT, ports.bus.consume(subscription)).await.expect("subscriptions are shared").unwrap()
}

/// By pattern: inventory hears of orders and of the ledger, notify of orders only.
pub async fn an_event_reaches_every_subscription_that_matches(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    ports.bus.publish(&event(1, EventKind::OrderPaid)).await.unwrap();
    ports.bus.publish(&event(2, EventKind::BarrierReached)).await.unwrap();
    let mut inventory = consume(&ports, Subscription::Inventory).await;
    let heard: Vec<_> = take(&mut *inventory, 2).await.iter().map(event_id).collect();
    assert_eq!(heard, ["1", "2"]);
    let mut notify = consume(&ports, Subscription::Notify).await;
    assert_eq!(event_id(&take(&mut *notify, 1).await[0]), "1");
    assert_idle(&mut *notify).await;
}

/// Each message to one replica; a replica that goes leaves its messages to the others.
pub async fn replicas_share_a_subscription(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    let mut one = consume(&ports, Subscription::Notify).await;
    let mut two = consume(&ports, Subscription::Notify).await;
    for n in 1..=20 {
        ports.bus.publish(&event(n, EventKind::OrderPaid)).await.unwrap();
    }
    let first = take(&mut *one, 5).await;
    let second = take(&mut *two, 5).await;
    let ids = |deliveries: &[crate::Delivery]| deliveries.iter().map(event_id).collect::<HashSet<_>>();
    assert!(ids(&first).is_disjoint(&ids(&second)));
    two.ack_through(second[4].tag).await.unwrap();
    one.close().await.unwrap();
    let rest = take(&mut *two, 15).await;
    assert_eq!(&ids(&second) | &ids(&rest), (1..=20).map(|n: u32| n.to_string()).collect());
    let (again, new): (Vec<_>, Vec<_>) = rest.iter().partition(|d| ids(&first).contains(&event_id(d)));
    assert!(again.len() == 5 && again.iter().all(|d| d.redelivered == 1));
    let sent_ahead = u32::from(harness.sends_ahead());
    assert!(new.iter().all(|d| d.redelivered <= sent_ahead));
    two.ack_through(rest[14].tag).await.unwrap();
    assert_idle(&mut *two).await;
}

/// The outbox keeps what the bus has no room for.
pub async fn a_full_subscription_refuses(harness: &dyn Harness) {
    let ports = harness.fresh(Limits { subscription_messages_max: 3, ..Limits::default() }).await;
    let mut refused = 0;
    for n in 1..=30 {
        match ports.bus.publish(&event(n, EventKind::OrderPaid)).await {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error, PublishError::Full);
                refused += 1;
            }
        }
    }
    assert!((10..=27).contains(&refused), "{refused} of 30 refused, 3 is the limit");
}

/// Notices are written slowly: when notify is far behind, its oldest events give way, and inventory misses none.
pub async fn a_notify_that_is_far_behind_holds_up_nobody(harness: &dyn Harness) {
    let ports = harness.fresh(Limits { subscription_messages_max: 4, ..Limits::default() }).await;
    let mut inventory = consume(&ports, Subscription::Inventory).await;
    for n in 1..=30 {
        ports.bus.publish(&event(n, EventKind::OrderPaid)).await.unwrap();
        let heard = take(&mut *inventory, 1).await;
        assert_eq!(event_id(&heard[0]), n.to_string());
        inventory.ack_through(heard[0].tag).await.unwrap();
    }
    assert_dead(&*ports.dead, "maxlen", 26).await;
    let mut notify = consume(&ports, Subscription::Notify).await;
    let left: Vec<_> = take(&mut *notify, 4).await.iter().map(event_id).collect();
    assert_eq!(left, ["27", "28", "29", "30"]);
    assert_idle(&mut *notify).await;
}

/// By attribute, not by name.
pub async fn notices_are_routed_by_channel(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    for (n, channel) in (1..).zip(Channel::ALL) {
        ports.bus.publish_notice(&notice(n, channel)).await.unwrap();
    }
    for (n, channel) in (1..).zip(Channel::ALL) {
        let mut consumer = consume(&ports, Subscription::Notices(channel)).await;
        assert_eq!(notice_id(&take(&mut *consumer, 1).await[0]), n.to_string());
        assert_idle(&mut *consumer).await;
    }
}

/// Drop-head: a notice is never refused; the oldest go to the dead letters, cause `maxlen`.
pub async fn the_oldest_notices_give_way(harness: &dyn Harness) {
    let ports = harness.fresh(Limits { notices_max: 4, ..Limits::default() }).await;
    for n in 1..=10 {
        ports.bus.publish_notice(&notice(n, Channel::Email)).await.unwrap();
    }
    assert_dead(&*ports.dead, "maxlen", 6).await;
    let mut consumer = consume(&ports, Subscription::Notices(Channel::Email)).await;
    let left: Vec<_> = take(&mut *consumer, 4).await.iter().map(notice_id).collect();
    assert_eq!(left, ["7", "8", "9", "10"]);
    assert_idle(&mut *consumer).await;
}

/// Fan-out to all who listen; nobody listening is no failure.
pub async fn every_listener_hears_a_broadcast(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    let news = |n| SaleBroadcast { sale: sale(), change: Change { epoch: 1, n }, news: SaleNews::SoldOut };
    ports.bus.broadcast(&news(1)).await.unwrap();
    let mut one = ports.bus.broadcasts().await.unwrap();
    let mut two = ports.bus.broadcasts().await.unwrap();
    ports.bus.broadcast(&news(2)).await.unwrap();
    for listener in [&mut one, &mut two] {
        let heard = timeout(WAIT, listener.next()).await.expect("it should be heard").unwrap();
        assert_eq!(heard, Some(news(2)), "the one before was before its time");
    }
}

/// Without a queue of its own.
pub async fn a_tap_hears_events_from_now_on(harness: &dyn Harness) {
    let ports = harness.fresh(Limits::default()).await;
    ports.bus.publish(&event(1, EventKind::OrderPaid)).await.unwrap();
    let mut tap = ports.bus.tap().await.unwrap();
    ports.bus.publish(&event(2, EventKind::OrderExpired)).await.unwrap();
    let heard = timeout(WAIT, tap.next()).await.expect("it should be heard").unwrap();
    assert_eq!(heard.unwrap().id, "2");
    until("both events in the subscription", || async {
        let stats = ports.dead.other_stats().await.unwrap();
        let inventory = stats.iter().find(|i| i.name == "seckill.inventory").unwrap();
        (inventory.depth == 2).then_some(())
    })
    .await;
}
