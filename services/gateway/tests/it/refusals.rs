//! Every refusal of the purchase path, and every way to ask wrongly.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use contract::events::SaleNews;
use domain::Phase;
use serde_json::{Value, json};
use stock::StockStore;

use crate::support::app::{BUY, sale_id};
use crate::support::http::authorized;
use crate::support::{App, Options, SALE, until};

fn json_headers(token: &str) -> HeaderMap {
    let mut headers = authorized(Some(token));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

#[tokio::test]
async fn an_unknown_path_and_unknown_routes_and_methods_are_told_apart() {
    let app = App::start().await;
    let token = app.token("alice");
    for path in ["/api/v1/buy/ffff/tickets", "/api/v1/buy//tickets", "/api/v1/buy/%00/orders"] {
        app.public.post(path, Some(&token), &json!({})).await.refused("unknown_path");
    }
    for path in [BUY, &format!("{BUY}/"), &format!("{BUY}/else"), "/api/v1/buy/", "/nowhere", "/api/v2/sales"]
    {
        app.public.post(path, Some(&token), &json!({})).await.refused("not_found");
    }
    let answer = app.public.get(&format!("{BUY}/orders"), Some(&token)).await;
    answer.refused("method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    for path in ["/", "/s/sale-1", "/api/v1/sales", "/api/v1/sales/sale-1/gate", "/api/v1/orders"] {
        let answer = app.public.send(Method::DELETE, path, HeaderMap::new(), b"").await;
        answer.refused("method_not_allowed");
    }
    app.public.get("/api/v1/payments/webhook", None).await.refused("method_not_allowed");
    app.public.post("/api/v1/demo/login", None, &json!({"user": "alice"})).await.refused("not_found");
}

#[tokio::test]
async fn a_body_that_is_not_the_contracts_is_refused_before_anything_happens() {
    let app = App::start().await;
    let (ticket, _) = app.ticket("alice").await;
    let token = app.token("alice");
    let path = format!("{BUY}/orders");
    let bad = [
        String::new(),
        "{".into(),
        "null".into(),
        "[]".into(),
        "\u{0}".into(),
        format!(r#"{{"ticket":"{ticket}"}}"#),
        format!(r#"{{"ticket":"{ticket}","quantity":1,"extra":1}}"#),
        format!(r#"{{"ticket":"{ticket}","quantity":"1"}}"#),
        format!(r#"{{"ticket":"{ticket}","quantity":1.5}}"#),
        format!(r#"{{"ticket":"{ticket}","quantity":99999999999999999999}}"#),
        format!(r#"{{"ticket":"{ticket}","quantity":1,"quantity":1}}"#),
        r#"{"ticket":7,"quantity":1}"#.into(),
        format!(r#"["{ticket}",1]"#),
        format!("{}1{}", "[".repeat(5000), "]".repeat(5000)),
    ];
    for bad in &bad {
        let answer = app.public.send(Method::POST, &path, json_headers(&token), bad.as_bytes()).await;
        answer.refused("bad_request");
    }
    let answer = app.public.send(Method::POST, &path, json_headers(&token), &[0xff, 0xfe]).await;
    answer.refused("bad_request");
    let huge = json!({ "ticket": "A".repeat(17_000), "quantity": 1 });
    app.public.post(&path, Some(&token), &huge).await.refused("too_large");
    app.public.post(&format!("{BUY}/tickets"), Some(&token), &huge).await.refused("too_large");
    app.public.post("/api/v1/orders/x/cancel", Some(&token), &huge).await.refused("too_large");
    let mut headers = authorized(Some(&token));
    app.public.send(Method::POST, &path, headers.clone(), b"{}").await.refused("unsupported_media_type");
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    app.public.send(Method::POST, &path, headers, b"{}").await.refused("unsupported_media_type");
    assert_eq!(app.reservations(), 0);
    app.order("alice", &ticket, 1).await.ok(202);
}

#[tokio::test]
async fn a_body_that_a_ticket_does_not_take_is_well_formed_all_the_same() {
    let app = App::start().await;
    let (path, token) = (format!("{BUY}/tickets"), app.token("alice"));
    for bad in ["{", r#"{"x":1}"#, r#"{"pass":1}"#, "[]", "nonsense"] {
        let answer = app.public.send(Method::POST, &path, json_headers(&token), bad.as_bytes()).await;
        answer.refused("bad_request");
    }
    let unnamed = authorized(Some(&token));
    app.public.send(Method::POST, &path, unnamed.clone(), b"{}").await.refused("unsupported_media_type");
    let mut text = unnamed.clone();
    text.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    app.public.send(Method::POST, &path, text, b"{}").await.refused("unsupported_media_type");
    for (headers, body) in [(unnamed, ""), (json_headers(&token), ""), (json_headers(&token), "{}")] {
        app.public.send(Method::POST, &path, headers, body.as_bytes()).await.ok(200);
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let settings = vec![("SECKILL_BODY_TIMEOUT_MS", "50"), ("SECKILL_HEADER_TIMEOUT_MS", "200")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    for path in [format!("{BUY}/orders"), "/api/v1/payments/webhook".into()] {
        let mut stream = tokio::net::TcpStream::connect(app.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains(r#""code":"bad_request""#), "{answer}");
    }
}

#[tokio::test]
async fn quantities_outside_the_limit_are_invalid() {
    let app = App::start().await;
    for quantity in [0, -1, 3, i64::MAX, i64::MIN] {
        let (ticket, _) = app.ticket("alice").await;
        app.order("alice", &ticket, quantity).await.refused("invalid_quantity");
    }
    assert_eq!(app.reservations(), 0);
}

#[tokio::test]
async fn the_stores_refusals_reach_the_buyer() {
    let app = App::with(Options { stock: 3, ..Options::default() }).await;
    let (carols, _) = app.ticket("carol").await;
    let (first, _) = app.ticket("alice").await;
    app.order("alice", &first, 2).await.ok(202);
    let (more, _) = app.ticket("alice").await;
    app.order("alice", &more, 1).await.refused("limit_reached");
    app.order("alice", &first, 1).await.refused("ticket_mismatch");
    app.order("alice", &first, 99).await.refused("ticket_mismatch");

    let (bobs, _) = app.ticket("bob").await;
    let problem = app.order("bob", &bobs, 2).await.refused("not_enough");
    assert_eq!(problem.available, Some(1));
    app.order("bob", &bobs, 1).await.ok(202);
    app.order("carol", &carols, 1).await.refused("sold_out");
    app.ticket_answer("carol").await.refused("sold_out");
}

#[tokio::test]
async fn a_paused_sale_and_an_ended_one_say_so() {
    let app = App::start().await;
    let (ticket, _) = app.ticket("alice").await;
    let (held, _) = app.buy("bob").await;
    app.configure(2, Phase::Paused).await;
    app.broadcast(1, 2, SaleNews::Paused);
    until("the pause", async || (app.ticket_answer("alice").await.status == 403).then_some(())).await;
    app.ticket_answer("alice").await.refused("paused");
    app.order("alice", &ticket, 1).await.refused("paused");
    app.order("bob", &held, 1).await.ok(202);
    let gate = app.public.get("/api/v1/sales/sale-1/gate", None).await.ok(200).json();
    assert_eq!((&gate["state"], &gate["buy"]), (&json!("paused"), &json!(BUY)));

    app.configure(3, Phase::Ended).await;
    app.broadcast(1, 3, SaleNews::Ended);
    until("the end", async || (app.ticket_answer("alice").await.status == 410).then_some(())).await;
    app.ticket_answer("alice").await.refused("ended");
    app.order("alice", &ticket, 1).await.refused("ended");
    app.order("bob", &held, 1).await.ok(202);
    let gate = app.public.get("/api/v1/sales/sale-1/gate", None).await.ok(200).json();
    assert_eq!((&gate["state"], &gate["buy"]), (&json!("ended"), &Value::Null));
}

#[tokio::test]
async fn a_store_that_does_not_answer_or_does_not_know_fails_closed() {
    let app = App::start().await;
    let (ticket, _) = app.ticket("alice").await;
    app.stock.unreachable.store(true, std::sync::atomic::Ordering::SeqCst);
    app.order("alice", &ticket, 1).await.refused("unavailable");
    assert_eq!(app.published(), 0, "what is not known to be reserved is not published");
    until("a stale view", async || (app.ticket_answer("alice").await.status == 503).then_some(())).await;
    app.public.get("/api/v1/sales/sale-1/gate", None).await.refused("unavailable");
    until("not ready", async || (!app.health.is_ready()).then_some(())).await;
    app.stock.unreachable.store(false, std::sync::atomic::Ordering::SeqCst);
    until("an answer", async || (app.order("alice", &ticket, 1).await.status == 202).then_some(())).await;

    app.stock.inner.lose_everything();
    app.broadcast(1, 99, SaleNews::Rebuilding);
    until("closed", async || (app.ticket_answer("bob").await.status == 503).then_some(())).await;
    app.ticket_answer("bob").await.refused("unavailable");
    crate::support::app::fill(&app.stock, 2, 0, 10).await;
    until("open again", async || (app.ticket_answer("bob").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_lane_above_its_high_water_mark_reserves_nothing_more() {
    let settings = vec![("SECKILL_LANE_HIGH_WATER", "10")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let (ticket, _) = app.ticket("alice").await;
    app.queue.depth.store(50_000, std::sync::atomic::Ordering::SeqCst);
    until("the sample", async || (app.ticket_answer("bob").await.status == 503).then_some(())).await;
    app.ticket_answer("bob").await.refused("overloaded");
    app.order("alice", &ticket, 1).await.refused("overloaded");
    assert_eq!(app.reservations(), 0, "before reserving");
    app.queue.depth.store(0, std::sync::atomic::Ordering::SeqCst);
    until("relief", async || (app.order("alice", &ticket, 1).await.status == 202).then_some(())).await;
}

#[tokio::test]
async fn a_sale_has_a_share_of_a_lane_that_others_fill() {
    let settings = vec![("SECKILL_LANE_HIGH_WATER", "64")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let (late, _) = app.ticket("late").await;
    app.queue.depth.store(50_000, std::sync::atomic::Ordering::SeqCst);
    // The second one from here on begins when the first is known.
    let known = app.queue.samples.load(std::sync::atomic::Ordering::SeqCst) + 2;
    let samples = || app.queue.samples.load(std::sync::atomic::Ordering::SeqCst);
    until("the sample", async || (samples() >= known).then_some(())).await;
    // A sixteenth of the mark is its own. Of a lane that does not drain, nothing comes back.
    for buyer in ["ann", "bob", "cid", "dan"] {
        app.buy(buyer).await;
    }
    app.ticket_answer("eve").await.refused("overloaded");
    app.order("late", &late, 1).await.refused("overloaded");
    app.queue.depth.store(0, std::sync::atomic::Ordering::SeqCst);
    until("relief", async || (app.order("late", &late, 1).await.status == 202).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sales_bulkhead_holds() {
    let settings = vec![("SECKILL_SALE_CONCURRENCY_MAX", "2"), ("SECKILL_PUBLISH_WAIT_MS", "60000")];
    // Whoever comes in beside the two who are at work, and have both units, is told by the store: sold out.
    let app = std::sync::Arc::new(App::with(Options { stock: 2, settings, ..Options::default() }).await);
    let mut tickets = Vec::new();
    for n in 0..20 {
        let buyer = format!("buyer-{n}");
        let (ticket, _) = app.ticket(&buyer).await;
        tickets.push((buyer, ticket));
    }
    app.queue.gate.forget_permits(usize::MAX);
    let mut orders = tokio::task::JoinSet::new();
    for (buyer, ticket) in tickets {
        let app = app.clone();
        orders.spawn(async move { (app.order(&buyer, &ticket, 1).await, buyer, ticket) });
    }
    let mut shed = Vec::new();
    while orders.len() > 2 {
        let (answer, buyer, ticket) = orders.join_next().await.unwrap().unwrap();
        answer.refused("overloaded");
        shed.push((buyer, ticket));
    }
    until("both at work", async || (app.reservations() == 2).then_some(())).await;
    app.public.get(&format!("/api/v1/sales/{SALE}"), None).await.ok(200);
    app.queue.gate.add_permits(10);
    while let Some(done) = orders.join_next().await {
        done.unwrap().0.ok(202);
    }
    // What is let in at once is bounded, and not what is sold.
    app.stock.set_total(&sale_id(), 3, 2).await.unwrap();
    let (buyer, ticket) = &shed[0];
    app.order(buyer, ticket, 1).await.ok(202);
}
