//! From gate to 202.

use domain::OrderStatus;
use serde_json::json;

use crate::support::app::{BUY, SLUG};
use crate::support::{App, NOW, Options, SALE, until};

#[tokio::test]
async fn a_buyer_finds_the_path_in_the_gate_and_gets_an_order() {
    let app = App::start().await;
    let gate = app.public.get("/api/v1/sales/sale-1/gate", None).await.ok(200);
    assert!(gate.body.len() <= 256, "{} bytes", gate.body.len());
    assert_eq!(gate.header("cache-control"), Some("no-store"));
    let gate = gate.json();
    assert_eq!(gate["state"], "open");
    assert_eq!(gate["now"], NOW);
    assert_eq!(gate["buy"], BUY);

    let ticket = app.ticket_answer("alice").await.ok(200).json();
    assert_eq!(ticket["expires_at"], NOW + 60_000);
    let accepted = app.order("alice", ticket["ticket"].as_str().unwrap(), 2).await.ok(202).json();
    let order = ticket["order_id"].as_str().unwrap();
    let status_url = format!("/api/v1/orders/{order}");
    assert_eq!(accepted, json!({ "order_id": order, "status": "queued", "status_url": status_url }));

    let published = app.queue.published.lock().clone();
    let [message] = &published[..] else { panic!("one message, not {published:?}") };
    assert_eq!((message.order.to_string().as_str(), message.quantity), (order, 2));
    assert_eq!((message.sale.as_str(), message.buyer.as_str(), message.epoch.0), (SALE, "alice", 1));
}

#[tokio::test]
async fn every_ticket_is_a_new_one() {
    let app = App::start().await;
    let (one, other) = (app.ticket("alice").await, app.ticket("alice").await);
    assert_ne!(one.0, other.0);
    assert_ne!(one.1, other.1);
}

#[tokio::test]
async fn before_the_opening_there_is_no_path_no_ticket_and_no_order() {
    let app = App::with(Options { opens_in_ms: 10_000, ..Options::default() }).await;
    let gate = async || app.public.get("/api/v1/sales/sale-1/gate", None).await.ok(200);
    let shown = gate().await;
    assert!(!String::from_utf8_lossy(&shown.body).contains(SLUG));
    assert_eq!(shown.json()["state"], "upcoming");
    let sale = app.public.get("/api/v1/sales/sale-1", None).await.ok(200);
    assert!(!String::from_utf8_lossy(&sale.body).contains(SLUG));
    let list = app.public.get("/api/v1/sales", None).await.ok(200);
    assert!(!String::from_utf8_lossy(&list.body).contains(SLUG));

    // Also for somebody who guessed the path, to the last millisecond by the store's clock.
    app.ticket_answer("alice").await.refused("not_open");
    app.clock.advance(9_999);
    let looks = || app.stock.views.load(std::sync::atomic::Ordering::SeqCst);
    let before = looks();
    until("a fresh look at the store", async || {
        app.ticket_answer("alice").await.refused("not_open");
        (looks() > before).then_some(())
    })
    .await;
    app.order("alice", "made-up", 1).await.refused("not_open");
    app.clock.advance(1);
    until("the opening", async || (gate().await.json()["state"] == "open").then_some(())).await;
    app.buy("alice").await;
}

#[tokio::test]
async fn a_gateway_without_memory_of_a_ticket_still_answers_its_202() {
    let app = App::start().await;
    // Another gateway took these: their reservations are there, this one remembers nothing.
    let (ticket, order) = app.ticket("alice").await;
    let request = stock::ReserveRequest {
        sale: crate::support::app::sale_id(),
        id: domain::ReservationId::first(order),
        buyer: "alice".parse().unwrap(),
        quantity: 1,
        epoch: domain::Epoch(1),
        expires_at: domain::UnixMillis(NOW + 60_000),
    };
    use stock::StockStore;
    app.stock.inner.reserve(&request).await.unwrap();
    app.settle(order, "alice", OrderStatus::PendingPayment).await;
    let again = app.order("alice", &ticket, 1).await.ok(202).json();
    assert_eq!(again["status"], "pending_payment");
    app.configure(2, domain::Phase::Ended).await;
    app.broadcast(1, 9, contract::events::SaleNews::Ended);
    until("the end", async || (app.ticket_answer("bob").await.status == 410).then_some(())).await;
    app.order("alice", &ticket, 1).await.ok(202);
    app.clock.advance(120_000);
    app.row(order, "alice", OrderStatus::Paid);
    let expired = app.order("alice", &ticket, 1).await.ok(202).json();
    assert_eq!(expired["status"], "paid", "also after the ticket's expiry");
    assert_eq!(app.published(), 0, "a settled order is not published again");
}
