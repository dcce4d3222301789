//! Several gateways on one stock store: what one releases, all sell; and clocks that are wrong.

use std::sync::atomic::Ordering;

use contract::events::{Change, SaleNews};
use domain::ReservationId;
use serde_json::{Value, json};
use stock::StockStore;

use crate::support::app::sale_id;
use crate::support::{App, Options, until};

/// A sale of one unit, sold at the first of three gateways, and all three know it.
async fn sold_out_everywhere() -> ([App; 3], domain::OrderId) {
    let first = App::with(Options { stock: 1, ..Options::default() }).await;
    let (second, third) = (first.beside(0).await, first.beside(0).await);
    let gateways = [first, second, third];
    let mut late = Vec::new();
    for app in &gateways {
        late.push(app.ticket("bob").await.0);
    }
    let (_, order) = gateways[0].buy("alice").await;
    for (app, ticket) in gateways.iter().zip(&late) {
        app.order("bob", ticket, 1).await.refused("sold_out");
        app.ticket_answer("carol").await.refused("sold_out");
    }
    (gateways, order)
}

async fn release(app: &App, order: domain::OrderId) -> Option<Change> {
    let released = app.stock.inner.release(&sale_id(), ReservationId::first(order)).await.unwrap();
    released.from_zero.then_some(released.change)
}

/// Waits until each gateway answers those who want a ticket with this status.
async fn all_answer(gateways: &[App; 3], status: u16) {
    for app in gateways {
        until("that answer", async || (app.ticket_answer("carol").await.status == status).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn a_released_unit_is_buyable_everywhere_once_that_is_broadcast() {
    let (gateways, order) = sold_out_everywhere().await;
    // While nobody can look into the store, a broadcast is all that can end the refusals.
    gateways[0].stock.unreachable.store(true, Ordering::SeqCst);
    let change = release(&gateways[0], order).await.expect("free again");
    for app in &gateways {
        app.broadcast(change.epoch, change.n, SaleNews::Available);
    }
    all_answer(&gateways, 503).await;
    gateways[0].stock.unreachable.store(false, Ordering::SeqCst);
    all_answer(&gateways, 200).await;
}

#[tokio::test]
async fn a_released_unit_is_buyable_everywhere_even_if_the_broadcast_is_lost() {
    let (gateways, order) = sold_out_everywhere().await;
    release(&gateways[0], order).await.expect("free again");
    all_answer(&gateways, 200).await;
}

#[tokio::test]
async fn no_gateway_sells_early_however_wrong_its_clock_and_the_clients() {
    let right = App::with(Options { opens_in_ms: 10_000, ..Options::default() }).await;
    let (fast, slow) = (right.beside(3_600_000).await, right.beside(-3_600_000).await);
    for app in [&right, &fast, &slow] {
        let gate = app.public.get("/api/v1/sales/sale-1/gate", None).await.ok(200).json();
        assert_eq!((&gate["state"], &gate["buy"]), (&"upcoming".into(), &Value::Null));
        app.ticket_answer("alice").await.refused("not_open");
        app.order("alice", "made-up", 1).await.refused("not_open");
    }
    right.clock.advance(10_000);
    for (app, buyer) in [(&right, "alice"), (&fast, "bob"), (&slow, "carol")] {
        until("the opening", async || (app.ticket_answer(buyer).await.status == 200).then_some(())).await;
        app.buy(buyer).await;
        right.clock.advance(1000);
    }
}

#[tokio::test]
async fn a_hot_sale_takes_nothing_from_another() {
    let settings = vec![("SECKILL_SALE_CONCURRENCY_MAX", "4"), ("SECKILL_PUBLISH_WAIT_MS", "60000")];
    let app = std::sync::Arc::new(App::with(Options { stock: 100, settings, ..Options::default() }).await);
    let cold = app.second_sale(10).await;
    app.queue.gate.forget_permits(usize::MAX);
    let mut hot = tokio::task::JoinSet::new();
    for n in 0..40 {
        let app = app.clone();
        hot.spawn(async move {
            let buyer = format!("hot-{n}");
            let (ticket, _) = app.ticket(&buyer).await;
            app.order(&buyer, &ticket, 1).await
        });
    }
    until("a full share", async || (app.reservations() == 4).then_some(())).await;
    // All the others are shed at the door.
    while hot.len() > 4 {
        hot.join_next().await.unwrap().unwrap().refused("overloaded");
    }
    assert_eq!(app.reservations(), 4, "nothing reserved for them");
    // While these four are stuck, the other sale sells.
    let buying = tokio::spawn({
        let app = app.clone();
        async move {
            let token = app.token("dora");
            let ticket = app.public.post(&format!("{cold}/tickets"), Some(&token), &Value::Null).await;
            let body = json!({ "ticket": ticket.ok(200).json()["ticket"], "quantity": 1 });
            app.public.post(&format!("{cold}/orders"), Some(&token), &body).await
        }
    });
    until("the other sale's order", async || (app.reservations() == 5).then_some(())).await;
    assert_eq!(app.published(), 0, "all five wait");
    app.queue.gate.add_permits(5);
    buying.await.unwrap().ok(202);
    while let Some(answer) = hot.join_next().await {
        answer.unwrap().ok(202);
    }
}

#[tokio::test]
async fn who_is_refused_again_and_again_sits_in_the_back_row() {
    let ([app, ..], _) = sold_out_everywhere().await;
    until("a connection in the back row", async || {
        for _ in 0..20 {
            app.ticket_answer("alice").await.refused("sold_out");
        }
        let metrics = app.admin.get("/metrics", None).await.ok(200);
        let text = String::from_utf8(metrics.body.to_vec()).unwrap();
        let gauge = text.lines().find_map(|line| line.strip_prefix("http_connections_in_back_row "))?;
        (gauge.parse::<f64>().unwrap() >= 1.0).then_some(())
    })
    .await;
}
