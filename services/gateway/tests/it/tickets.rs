//! Forged, foreign, stale and expired tickets; forged and expired tokens.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use gateway::tickets::Presented;
use serde_json::{Value, json};

use crate::support::app::{BUY, TICKET_KEYS, fill};
use crate::support::{App, NOW};

#[tokio::test]
async fn a_ticket_with_any_byte_changed_is_refused_and_reserves_nothing() {
    let app = App::start().await;
    let (ticket, _) = app.ticket("alice").await;
    let bytes = BASE64.decode(&ticket).unwrap();
    for at in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[at] ^= 1;
        app.order("alice", &BASE64.encode(forged), 1).await.refused("invalid_ticket");
    }
    assert_eq!(app.reservations(), 0);
    app.order("alice", &ticket, 1).await.ok(202);
}

#[tokio::test]
async fn a_ticket_is_its_buyers_and_its_sales_alone() {
    let app = App::start().await;
    let (ticket, _) = app.ticket("alice").await;
    app.order("mallory", &ticket, 1).await.refused("invalid_ticket");
    app.order("alice", &ticket, 1).await.ok(202);
    app.order("mallory", &ticket, 1).await.refused("invalid_ticket");

    let keys = TICKET_KEYS.parse().unwrap();
    let mut claims = Presented::parse(&app.ticket("bob").await.0).unwrap().verify(&keys).unwrap();
    claims.sale = "another-sale".parse().unwrap();
    app.order("bob", &claims.sign(&keys), 1).await.refused("invalid_ticket");
    let foreign = "k1:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb".parse().unwrap();
    claims.sale = "sale-1".parse().unwrap();
    app.order("bob", &claims.sign(&foreign), 1).await.refused("invalid_ticket");
}

#[tokio::test]
async fn what_is_no_ticket_at_all_is_refused_clearly() {
    let app = App::start().await;
    for bad in ["", "x", "AAAA", "not base64!", "é", &"A".repeat(300), &"A".repeat(12_000)] {
        app.order("alice", bad, 1).await.refused("invalid_ticket");
    }
}

#[tokio::test]
async fn an_expired_ticket_without_an_order_is_refused_and_one_with_an_order_is_not() {
    let app = App::start().await;
    let (unused, _) = app.ticket("alice").await;
    let (used, _) = app.buy("bob").await;
    app.clock.advance(60_000);
    app.order("alice", &unused, 1).await.refused("invalid_ticket");
    assert_eq!(app.order("bob", &used, 1).await.ok(202).json()["status"], "queued");
    assert_eq!(app.reservations(), 1);
}

#[tokio::test]
async fn a_ticket_of_a_lost_stock_state_is_refused() {
    let app = App::start().await;
    let (ticket, order) = app.ticket("alice").await;
    fill(&app.stock, 2, 0, 10).await;
    app.order("alice", &ticket, 1).await.refused("invalid_ticket");
    // Unless its order made it into the ledger.
    app.row(order, "alice", domain::OrderStatus::Rejected);
    assert_eq!(app.order("alice", &ticket, 1).await.ok(202).json()["status"], "rejected");
    assert_eq!(app.reservations(), 0);
}

#[tokio::test]
async fn only_a_genuine_living_token_names_a_buyer() {
    let app = App::start().await;
    let good = app.token("alice");
    let payload = good.split('.').nth(1).unwrap();
    let none = format!("{}.{payload}.", BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#));
    let other_alg =
        format!("{}.{payload}.{}", BASE64.encode(r#"{"alg":"HS512"}"#), good.rsplit('.').next().unwrap());
    let mut forged = good.clone();
    forged.replace_range(0..1, "f");
    let ended = app.identity.mint(&"alice".parse().unwrap(), domain::UnixMillis(NOW - 7_200_000), 3600);
    let tickets = format!("{BUY}/tickets");
    for bad in [&none, &other_alg, &forged, &ended, "", "x.y.z", "a.b", &"A".repeat(8000)] {
        app.public.post(&tickets, Some(bad), &Value::Null).await.refused("unauthenticated");
        app.public.get("/api/v1/orders", Some(bad)).await.refused("unauthenticated");
    }
    for odd in ["Basic YTpi", "Bearer", "bearer  ", good.as_str()] {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(odd).unwrap());
        app.public.send(Method::POST, &tickets, headers, b"").await.refused("unauthenticated");
    }
    app.public.post(&tickets, Some(&good), &json!({})).await.ok(200);
}
