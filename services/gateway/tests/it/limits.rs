//! Limits, exact on a clock that stands still.

use serde_json::json;

use crate::support::app::BUY;
use crate::support::{App, Options};

#[tokio::test]
async fn the_n_plus_first_request_of_a_buyer_is_refused_whatever_its_path_and_ticket() {
    let settings = vec![("SECKILL_BUYER_LIMIT", "10/1")];
    let app = App::with(Options { stock: 100, settings, ..Options::default() }).await;
    let mut tickets = Vec::new();
    for _ in 0..5 {
        tickets.push(app.ticket("alice").await.0);
    }
    // Orders count like tickets: 5 and 5 are 10.
    for (n, ticket) in tickets.iter().enumerate() {
        let code = app.order("alice", ticket, 1).await.status;
        assert_eq!(code, if n < 2 { 202 } else { 409 });
    }
    app.ticket_answer("alice").await.refused("rate_limited");
    app.order("alice", "another ticket", 1).await.refused("rate_limited");
    app.ticket("bob").await;
    app.clock.advance(100);
    app.ticket("alice").await;
    app.ticket_answer("alice").await.refused("rate_limited");
    app.clock.advance(1000);
    for _ in 0..10 {
        app.ticket("alice").await;
    }
    app.ticket_answer("alice").await.refused("rate_limited");
}

#[tokio::test]
async fn the_n_plus_first_purchase_request_of_a_sale_is_refused() {
    let settings = vec![("SECKILL_SALE_LIMIT", "4/1")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    for buyer in ["alice", "bob", "carol"] {
        app.ticket(buyer).await;
    }
    let (ticket, _) = app.ticket("dora").await;
    app.ticket_answer("erin").await.refused("rate_limited");
    app.order("dora", &ticket, 1).await.refused("rate_limited");
    app.clock.advance(250);
    app.order("dora", &ticket, 1).await.ok(202);
}

#[tokio::test]
async fn strangers_of_one_address_share_a_limit_and_buyers_do_not() {
    let settings = vec![("SECKILL_ADDRESS_LIMIT", "5/1")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    app.public.get("/", None).await.ok(200);
    app.public.get("/api/v1/sales", None).await.ok(200);
    app.public.get("/api/v1/sales/sale-1/gate", None).await.ok(200);
    app.public.get("/api/v1/orders", Some("forged")).await.refused("unauthenticated");
    app.public.post(&format!("{BUY}/tickets"), None, &json!({})).await.refused("unauthenticated");
    app.public.get("/api/v1/sales", None).await.refused("rate_limited");
    app.public.post(&format!("{BUY}/tickets"), Some("forged"), &json!({})).await.refused("rate_limited");
    app.public.post("/api/v1/buy/guess/tickets", None, &json!({})).await.refused("rate_limited");
    let token = app.token("alice");
    for _ in 0..20 {
        app.public.get("/api/v1/sales", Some(&token)).await.ok(200);
    }
    app.clock.advance(1000);
    app.public.get("/api/v1/sales", None).await.ok(200);
}
