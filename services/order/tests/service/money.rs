//! Payments through the sandbox, webhooks, refunds, late payments.

use axum::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use contract::Code;
use contract::api::{AdminOrder, PaymentStarted};
use contract::internal::{LateOutcome, OnBehalfOf};
use domain::{Epoch, OrderStatus};
use serde_json::json;
use service_kit::http::ClientError;

use super::app::{App, PRICE, Wishes, buyer, id, until};

impl App {
    async fn try_begin(&self, n: u32, who: &str) -> Result<PaymentStarted, ClientError> {
        let path = format!("/internal/v1/orders/{}/payment", id(n));
        self.http.call(Method::POST, &path, &OnBehalfOf { buyer: buyer(who) }).await
    }

    async fn begin(&self, n: u32, who: &str) -> PaymentStarted {
        self.try_begin(n, who).await.unwrap()
    }

    async fn history(&self, n: u32) -> AdminOrder {
        self.http.get(&format!("/internal/v1/admin/orders/{}", id(n))).await.unwrap()
    }

    /// Waits until the provider has carried out `refunds` refunds of the order, and no more.
    async fn until_refunded(&self, n: u32, refunds: usize) -> AdminOrder {
        let done = |o: &AdminOrder| o.refunds.iter().filter(|r| r.status == "done").count();
        until("the refunds are done", || async { done(&self.history(n).await) == refunds }).await;
        let history = self.history(n).await;
        assert_eq!(history.refunds.len(), refunds);
        history
    }
}

fn captured(event: &str, reference: &str, n: u32, cents: i64) -> serde_json::Value {
    json!({"event_id": event, "type": "payment.succeeded", "reference": reference,
        "order_id": id(n).to_string(), "amount_cents": cents, "currency": "EUR"})
}

#[tokio::test]
async fn a_buyer_fails_once_pays_then_and_is_refunded_by_an_operator() {
    let app = App::start(Wishes::default()).await;
    app.put_sale(2, 1).await;
    app.place(1, "ada").await;
    let first = app.begin(1, "ada").await;
    assert_eq!(app.begin(1, "ada").await, first, "the same while one is under way");
    let page = app.open.send(Method::GET, &first.payment_url, HeaderMap::new(), Bytes::new()).await.unwrap();
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(html.contains("25.00 EUR") && html.contains("value=\"late\""), "{html}");
    assert!(!html.contains("style=") && !html.contains("<script"), "{html}");
    app.press(&first.payment_url, "fail").await;
    let second = app.begin(1, "ada").await;
    assert_ne!(second.reference, first.reference);
    app.press(&second.payment_url, "succeed").await;
    assert_eq!(app.status(1).await, Some(OrderStatus::Paid), "the buyer comes back to a paid order");
    let path = format!("/internal/v1/admin/orders/{}/refund", id(1));
    let refunded: AdminOrder = app.http.call(Method::POST, &path, &json!({})).await.unwrap();
    assert_eq!(refunded.order.status, OrderStatus::Refunded);
    let history = app.until_refunded(1, 1).await;
    let statuses: Vec<_> = history.payments.iter().map(|p| p.status.as_str()).collect();
    assert_eq!(statuses, ["failed", "captured"]);
    app.end().await;
}

#[tokio::test]
async fn a_payment_whose_end_nobody_told_is_asked_about_when_its_buyer_pays_again() {
    let app = App::start(Wishes { webhooks_lost: true, ..Wishes::default() }).await;
    app.put_sale(2, 1).await;
    app.place(1, "ada").await;
    let first = app.begin(1, "ada").await;
    app.press(&first.payment_url, "fail").await;
    assert_eq!(app.history(1).await.payments[0].status, "started", "the webhook is lost");
    let second = app.begin(1, "ada").await;
    assert_ne!(second.reference, first.reference, "nobody can pay by the first any more");
    assert_eq!(app.begin(1, "ada").await, second, "the same while one is under way");
    app.press(&second.payment_url, "succeed").await;
    assert_eq!(app.status(1).await, Some(OrderStatus::PendingPayment), "this one's webhook, too");
    let refused = app.try_begin(1, "ada").await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::NotPayable));
    assert_eq!(app.status(1).await, Some(OrderStatus::Paid));
    let history = app.history(1).await;
    let statuses: Vec<_> = history.payments.iter().map(|p| p.status.as_str()).collect();
    assert_eq!((statuses, history.refunds.len()), (vec!["failed", "captured"], 0));
    app.end().await;
}

#[tokio::test]
async fn webhooks_are_believed_by_their_signature_and_counted_once() {
    let app = App::start(Wishes::default()).await;
    app.put_sale(2, 1).await;
    app.place(1, "ada").await;
    let body = captured("e1", "p1", 1, PRICE);
    let forged = app.webhook_signed("t=1,v1=00", &body.to_string()).await;
    assert_eq!(forged.status, StatusCode::UNAUTHORIZED);
    assert!(String::from_utf8_lossy(&forged.body).contains("bad_signature"));
    assert_eq!(app.status(1).await, Some(OrderStatus::PendingPayment));
    for _ in 0..10 {
        assert_eq!(app.webhook(&body).await.status, StatusCode::OK);
    }
    assert_eq!(app.status(1).await, Some(OrderStatus::Paid));
    for (event, cents) in [("e2", PRICE), ("e3", PRICE + 1)] {
        let reply = app.webhook(&captured(event, event, 1, cents)).await;
        assert_eq!(reply.status, StatusCode::OK, "recorded, and paid back");
    }
    let unknown = app.webhook(&captured("e4", "p4", 99, PRICE)).await;
    assert_eq!(unknown.status, StatusCode::OK);
    let history = app.until_refunded(1, 2).await;
    assert_eq!(history.order.status, OrderStatus::Paid);
    for bad in [json!({"event_id": "x"}), json!([1]), json!({"event_id": "e", "type": "payment.maybe"})] {
        assert_eq!(app.webhook(&bad).await.status, StatusCode::BAD_REQUEST);
    }
    app.end().await;
}

#[tokio::test]
async fn paying_too_late_takes_units_again_or_pays_the_money_back() {
    for (outcome, status, refunds) in [
        (LateOutcome::Reserved { epoch: Epoch(1) }, OrderStatus::Paid, 0),
        (LateOutcome::Refused, OrderStatus::Expired, 1),
    ] {
        let app = App::start(Wishes { late_stock: Some(outcome), ..Wishes::default() }).await;
        app.put_sale(2, 1).await;
        app.place(1, "ada").await;
        let started = app.begin(1, "ada").await;
        app.press(&started.payment_url, "late").await;
        app.pass_deadline();
        app.until_status(1, OrderStatus::Expired).await;
        app.pass(5_000);
        until("the capture came", || async { app.history(1).await.payments[0].status == "captured" }).await;
        app.until_status(1, status).await;
        app.until_refunded(1, refunds).await;
        app.end().await;
    }
}

#[tokio::test]
async fn a_late_payment_waits_while_the_stock_is_being_rebuilt() {
    let mut app = App::start(Wishes { late_stock: Some(LateOutcome::Rebuilding), ..Wishes::default() }).await;
    app.put_sale(2, 1).await;
    app.place(1, "ada").await;
    app.pass_deadline();
    app.until_status(1, OrderStatus::Expired).await;
    assert_eq!(app.webhook(&captured("e1", "p1", 1, PRICE)).await.status, StatusCode::OK);
    let waits =
        || async { order::order_store::OrderStore::late_work(&*app.store, 1).await.unwrap().is_empty() };
    until("it was put off", waits).await;
    assert_eq!(app.history(1).await.refunds, []);
    app.stop().await;
    app.answer_late(LateOutcome::Reserved { epoch: Epoch(1) });
    app.pass(60_000);
    app.resume().await;
    app.until_status(1, OrderStatus::Paid).await;
    app.end().await;
}
