//! A buyer's own orders: status, list, streams, payment, cancel.

use std::sync::Arc;

use axum::http::{HeaderValue, Method};
use contract::events::{Event, EventKind, OrderFact};
use domain::{Epoch, OrderId, OrderStatus, ReservationId, UnixMillis};
use serde_json::json;

use crate::support::app::{App, BUY, Options, sale_id};
use crate::support::http::authorized;
use crate::support::{NOW, until};

async fn status(app: &App, buyer: &str, order: OrderId) -> crate::support::Answer {
    app.public.get(&format!("/api/v1/orders/{order}"), Some(&app.token(buyer))).await
}

#[tokio::test]
async fn the_reservation_is_asked_first_then_the_row() {
    let app = App::start().await;
    let (ticket, order) = app.ticket("alice").await;
    app.order("alice", &ticket, 2).await.ok(202);
    let queued = status(&app, "alice", order).await.ok(200).json();
    let expected = json!({
        "order_id": order.to_string(), "sale": "sale-1", "quantity": 2, "amount_cents": 3998,
        "currency": "EUR", "status": "queued", "created_at": NOW, "pay_by": null,
    });
    assert_eq!(queued, expected);
    app.settle(order, "alice", OrderStatus::PendingPayment).await;
    let pending = status(&app, "alice", order).await.ok(200).json();
    assert_eq!((&pending["status"], &pending["pay_by"]), (&json!("pending_payment"), &json!(NOW + 900_000)));
}

#[tokio::test]
async fn a_row_whose_event_is_late_is_found_all_the_same() {
    let app = App::start().await;
    let (_, order) = app.buy("alice").await;
    app.row(order, "alice", OrderStatus::Paid);
    app.clock.advance(2000);
    until("the row", async || {
        (status(&app, "alice", order).await.ok(200).json()["status"] == "paid").then_some(())
    })
    .await;
}

/// The reservation is still shown as such for a moment after the row came.
#[tokio::test]
async fn who_acted_on_an_order_is_not_told_afterwards_that_it_is_queued() {
    let app = App::start().await;
    let (_, order) = app.buy("alice").await;
    app.row(order, "alice", OrderStatus::PendingPayment);
    assert_eq!(status(&app, "alice", order).await.ok(200).json()["status"], "queued");
    let cancel = format!("/api/v1/orders/{order}/cancel");
    app.public.post(&cancel, Some(&app.token("alice")), &json!({})).await.ok(200);
    app.row(order, "alice", OrderStatus::Cancelled);
    assert_eq!(status(&app, "alice", order).await.ok(200).json()["status"], "cancelled");
}

#[tokio::test]
async fn other_peoples_orders_and_unknown_ones_are_not_found() {
    let app = App::start().await;
    let (_, queued) = app.buy("alice").await;
    let (_, pending) = app.buy("alice").await;
    app.settle(pending, "alice", OrderStatus::PendingPayment).await;
    let unknown = OrderId::mint(UnixMillis(NOW), [7; 10]);
    for order in [queued, pending, unknown] {
        status(&app, "mallory", order).await.refused("order_not_found");
        for action in ["payment", "cancel"] {
            let path = format!("/api/v1/orders/{order}/{action}");
            app.public.post(&path, Some(&app.token("mallory")), &json!({})).await.refused("order_not_found");
        }
        let events = format!("/api/v1/orders/{order}/events");
        app.public.get(&events, Some(&app.token("mallory"))).await.refused("order_not_found");
    }
    for odd in ["x", "%ff", "..", "UPPER", "01890a5dac96774bbcceb302099a8057"] {
        let answer = app.public.get(&format!("/api/v1/orders/{odd}"), Some(&app.token("alice"))).await;
        answer.refused("order_not_found");
    }
    app.public.get(&format!("/api/v1/orders/{queued}"), None).await.refused("unauthenticated");
    app.public.get(&format!("/api/v1/orders/{queued}/events"), None).await.refused("unauthenticated");
}

#[tokio::test]
async fn an_order_that_cannot_be_looked_up_is_unavailable_rather_than_gone() {
    let app = App::start().await;
    let (_, order) = app.buy("alice").await;
    let elsewhere = OrderId::mint(UnixMillis(NOW), [7; 10]);
    app.stock.inner.lose_everything();
    status(&app, "alice", order).await.refused("unavailable");
    status(&app, "alice", elsewhere).await.refused("unavailable");
    app.row(order, "alice", OrderStatus::PendingPayment);
    status(&app, "alice", order).await.ok(200);
}

#[tokio::test]
async fn the_list_is_the_order_services_and_its_query_is_strict() {
    let app = App::start().await;
    let (_, order) = app.buy("alice").await;
    app.settle(order, "alice", OrderStatus::PendingPayment).await;
    let token = app.token("alice");
    let list = app.public.get("/api/v1/orders", Some(&token)).await.ok(200).json();
    assert_eq!(list["orders"][0]["order_id"], order.to_string());
    assert_eq!(list["next"], json!(null));
    let path = format!("/api/v1/orders?limit=5&after={order}");
    app.public.get(&path, Some(&token)).await.ok(200);
    let asked = app.behind.asked.lock().last().unwrap().1.clone();
    assert_eq!(asked, format!("/internal/v1/buyers/alice/orders?after={order}&limit=5"));
    for bad in ["limit=0", "limit=1000", "limit=-1", "after=x", "other=1", "limit=%31"] {
        app.public.get(&format!("/api/v1/orders?{bad}"), Some(&token)).await.refused("bad_request");
    }
    app.public.get("/api/v1/orders", None).await.refused("unauthenticated");
}

#[tokio::test]
async fn payment_and_cancel_know_queued_pending_and_finished_orders() {
    let app = App::start().await;
    let (_, order) = app.buy("alice").await;
    let token = app.token("alice");
    let (pay, cancel) = (format!("/api/v1/orders/{order}/payment"), format!("/api/v1/orders/{order}/cancel"));
    app.public.post(&pay, Some(&token), &json!({})).await.refused("not_payable");
    app.public.post(&cancel, Some(&token), &json!({})).await.refused("not_cancellable");
    app.settle(order, "alice", OrderStatus::PendingPayment).await;
    let started = app.public.post(&pay, Some(&token), &json!({})).await.ok(200).json();
    assert_eq!(started["payment_url"], format!("/pay/p-{order}"));
    let shown = app.public.post(&cancel, Some(&token), &json!({})).await.ok(200).json();
    assert_eq!(shown["order_id"], order.to_string());
    app.row(order, "alice", OrderStatus::Paid);
    app.public.post(&pay, Some(&token), &json!({})).await.refused("not_payable");
    app.public.post(&cancel, Some(&token), &json!({})).await.refused("not_cancellable");
    app.public.post(&pay, None, &json!({})).await.refused("unauthenticated");
    app.public.post(&cancel, None, &json!({})).await.refused("unauthenticated");
}

fn told(order: OrderId) -> Arc<Event> {
    let fact = OrderFact {
        order,
        reservation: ReservationId::first(order),
        buyer: "alice".parse().unwrap(),
        quantity: 1,
        amount_cents: 1999,
        currency: "EUR".into(),
        pay_by: UnixMillis(NOW),
    };
    Arc::new(Event {
        id: "e".into(),
        kind: EventKind::OrderPaid,
        sale: sale_id(),
        epoch: Epoch(1),
        at: UnixMillis(NOW),
        orders: vec![fact],
    })
}

#[tokio::test]
async fn a_stream_tells_the_present_state_and_every_change_and_ends_with_the_last() {
    let app = App::start().await;
    let (_, order) = app.buy("alice").await;
    let path = format!("/api/v1/orders/{order}/events");
    let mut stream = app.public.stream(&path, &app.token("alice")).await;
    assert!(stream.reads("\"status\":\"queued\"").await);
    app.settle(order, "alice", OrderStatus::PendingPayment).await;
    let told_at = tokio::time::Instant::now();
    app.bus.events.send(told(order)).unwrap();
    assert!(stream.reads("\"status\":\"pending_payment\"").await);
    assert!(told_at.elapsed() < std::time::Duration::from_millis(900), "woken, not polled");
    // The last change is not told to anybody: the stream looks by itself.
    app.row(order, "alice", OrderStatus::Paid);
    assert!(stream.reads("\"status\":\"paid\"").await);
    assert!(!stream.reads("more").await, "it ends");
    assert_eq!(stream.read.matches("event: status").count(), 3, "{}", stream.read);
}

#[tokio::test]
async fn streams_are_capped() {
    let settings = vec![("SECKILL_STREAMS_MAX", "1")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let ((_, order), (_, done)) = (app.buy("alice").await, app.buy("bob").await);
    let mut first = app.public.stream(&format!("/api/v1/orders/{order}/events"), &app.token("alice")).await;
    assert!(first.reads("queued").await);
    app.settle(done, "bob", OrderStatus::Cancelled).await;
    let other = format!("/api/v1/orders/{done}/events");
    app.public.get(&other, Some(&app.token("bob"))).await.refused("overloaded");
    app.settle(order, "alice", OrderStatus::Cancelled).await;
    assert!(first.reads("cancelled").await);
    assert!(!first.reads("more").await, "it ends");
    until("room", async || {
        (app.public.get(&other, Some(&app.token("bob"))).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_buyer_has_so_many_streams_and_leaves_the_others_theirs() {
    let app = App::start().await;
    let ((_, order), (_, bobs)) = (app.buy("alice").await, app.buy("bob").await);
    let (path, token) = (format!("/api/v1/orders/{order}/events"), app.token("alice"));
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(app.public.stream(&path, &token).await);
    }
    let refused = app.public.get(&path, Some(&token)).await;
    assert!(refused.refused("overloaded").detail.contains("poll"), "{refused:?}");
    // Those of waiting rooms are counted with them.
    app.behind.sales.lock()[0].rules =
        serde_json::from_str(r#"{"waiting_room":{"capacity":9,"admit_per_s":1}}"#).unwrap();
    app.behind.sales.lock()[0].version = 2;
    app.admin_patch("/admin/v1/sales/sale-1", "{}").await.ok(200);
    let room = "/api/v1/sales/sale-1/waiting-room/events";
    app.public.get(room, Some(&token)).await.refused("overloaded");
    let bob = app.token("bob");
    let mut others = app.public.stream(&format!("/api/v1/orders/{bobs}/events"), &bob).await;
    assert!(others.reads("queued").await);
    app.public.stream(room, &bob).await;
    drop(streams.pop());
    until("room for one more", async || {
        let mut stream = app.public.answers(&path, &token).await?;
        stream.reads("queued").await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_order_service_is_told_for_which_request_it_is_asked() {
    let app = App::start().await;
    let (ticket, order) = app.buy("alice").await;
    app.settle(order, "alice", OrderStatus::PendingPayment).await;
    let send = async |method: Method, path: String, body: serde_json::Value| {
        let mut headers = authorized(Some(&app.token("alice")));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("x-request-id", HeaderValue::from_static("mine"));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        app.public.send(method, &path, headers, body.as_bytes()).await
    };
    send(Method::GET, format!("/api/v1/orders/{order}"), json!(null)).await.ok(200);
    let again = json!({ "ticket": ticket, "quantity": 1 });
    send(Method::POST, format!("{BUY}/orders"), again).await.ok(202);
    let looks = app.behind.looks.lock().clone();
    let mine = (order.to_string(), Some("mine".to_owned()));
    assert_eq!(looks, [mine.clone(), mine]);
}

#[tokio::test]
async fn an_order_is_looked_for_in_the_sales_that_were_open_when_it_was_made() {
    let app = App::start().await;
    let (_, order) = app.buy("alice").await;
    // The sale has ended long ago, the lane is long, and whoever accepted the order is gone.
    app.clock.advance(3 * 3_600_000 - 1_000);
    let other = app.beside(0).await;
    assert_eq!(status(&other, "alice", order).await.ok(200).json()["status"], "queued");
    let before_all_sales = OrderId::mint(UnixMillis(NOW - 2 * 3_600_000), [7; 10]);
    status(&other, "alice", before_all_sales).await.refused("order_not_found");
    app.stock.inner.lose_everything();
    status(&other, "alice", order).await.refused("unavailable");
}

#[tokio::test]
async fn an_act_that_meets_the_rows_arrival_is_done() {
    let app = App::start().await;
    let (_, order) = app.buy("alice").await;
    let token = app.token("alice");
    // Its row comes right after the order service has said that there is none.
    app.behind.comes_late.lock().insert(order);
    app.settle(order, "alice", OrderStatus::PendingPayment).await;
    app.public.post(&format!("/api/v1/orders/{order}/payment"), Some(&token), &json!({})).await.ok(200);
    app.behind.comes_late.lock().insert(order);
    app.public.post(&format!("/api/v1/orders/{order}/cancel"), Some(&token), &json!({})).await.ok(200);
}
