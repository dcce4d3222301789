//! From the lane into the ledger, through poison, outages and stops.

use contract::lane::LaneMessage;
use domain::{OrderStatus, SaleId};
use messaging::{DeadLetters, EventBus, Subscription};
use order::order_store::OrderStore;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::app::{App, Wishes, id, order, sale, until};

/// Another process that holds the database's write lock: the store is away while it does.
async fn hold_write_lock(app: &App) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(&app.database);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("begin immediate").execute(&mut connection).await.unwrap();
    connection
}

#[tokio::test]
async fn orders_of_a_lane_become_rows_and_events() {
    let app = App::start(Wishes::default()).await;
    app.put_sale(2, 1).await;
    for n in 1..=3 {
        app.publish(&order(n, &format!("b{n}"), 1)).await;
    }
    app.until_status(2, OrderStatus::PendingPayment).await;
    app.until_status(3, OrderStatus::Rejected).await;
    let mut events = EventBus::consume(&*app.broker, Subscription::Inventory).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        for delivery in events.next_batch(10).await.unwrap() {
            let event: contract::events::Event = serde_json::from_slice(&delivery.body).unwrap();
            told.extend(event.orders.into_iter().map(|fact| (fact.order, event.kind.holds_units())));
            events.ack_through(delivery.tag).await.unwrap();
        }
    }
    told.sort();
    assert_eq!(told, [(id(1), true), (id(2), true), (id(3), false)]);
    events.close().await.unwrap();
    until("the outbox is empty", || async { app.store.outbox(1).await.unwrap().is_empty() }).await;
    app.end().await;
}

#[tokio::test]
async fn poison_amid_good_orders_is_found_and_named() {
    let mut app = App::start(Wishes::default()).await;
    app.put_sale(100, 1).await;
    app.stop().await;
    let nowhere: SaleId = "nowhere".parse().unwrap();
    for n in 1..=60 {
        let mut message = order(n, &format!("b{n}"), u32::from(n != 17));
        if let (41, LaneMessage::Order(m)) = (n, &mut message) {
            m.sale = nowhere.clone();
        }
        app.publish(&message).await;
    }
    app.resume().await;
    until("the lane is empty", || async { app.lane_depth().await == 0 }).await;
    let dead = app.broker.list(10).await.unwrap();
    let named: Vec<_> =
        dead.iter().map(|d| (d.reason.as_str(), d.body.contains(&id(17).to_string()))).collect();
    assert_eq!(named, [("rejected", true), ("rejected", false)]);
    assert!(dead[1].body.contains("nowhere"), "{}", dead[1].body);
    for n in (1..=60).filter(|n| ![17, 41].contains(n)) {
        assert_eq!(app.status(n).await, Some(OrderStatus::PendingPayment), "order {n}");
    }
    app.end().await;
}

#[tokio::test]
async fn an_outage_of_the_store_condemns_nothing_and_a_stop_in_it_loses_nothing() {
    let mut app = App::start(Wishes::default()).await;
    app.put_sale(100, 1).await;
    let lock = hold_write_lock(&app).await;
    for n in 1..=20 {
        app.publish(&order(n, &format!("b{n}"), 1)).await;
    }
    until("a consumer holds the batch", || async { in_flight_of(&app).await }).await;
    app.stop().await;
    assert_eq!(app.lane_depth().await, 20, "what was not committed is not acknowledged");
    app.resume().await;
    until("the new consumer holds it", || async { in_flight_of(&app).await }).await;
    lock.close().await.unwrap();
    for n in 1..=20 {
        app.until_status(n, OrderStatus::PendingPayment).await;
    }
    until("the lane is empty", || async { app.lane_depth().await == 0 }).await;
    assert_eq!(app.broker.list(10).await.unwrap(), [], "an outage is nobody's fault");
    app.end().await;
}

async fn in_flight_of(app: &App) -> bool {
    messaging::OrderQueue::lane_stats(&*app.broker).await.unwrap().iter().any(|lane| lane.in_flight > 0)
}

#[tokio::test]
async fn a_stop_commits_what_it_took_and_the_rest_waits() {
    let mut app = App::start(Wishes::default()).await;
    app.put_sale(5_000, 1).await;
    for n in 1..=200 {
        app.publish(&order(n, &format!("b{n}"), 1)).await;
    }
    app.stop().await;
    let taken = app.store.allocation(&sale()).await.unwrap().unwrap().guard.taken;
    let left = app.lane_depth().await;
    assert_eq!(u64::from(taken) + left, 200, "committed and acknowledged, or neither");
    app.resume().await;
    app.until_status(200, OrderStatus::PendingPayment).await;
    app.end().await;
}
