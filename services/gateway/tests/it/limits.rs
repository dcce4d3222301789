//! Limits, exact on a clock that stands still.

use std::sync::Arc;

use axum::http::{HeaderValue, Method};
use serde_json::json;

use crate::support::app::BUY;
use crate::support::http::{Client, authorized};
use crate::support::{Answer, App, Options, until};

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
async fn what_is_not_buying_has_a_limit_of_its_own() {
    let settings = vec![("SECKILL_BUYER_LIMIT", "2/1"), ("SECKILL_BROWSE_LIMIT", "3/1")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let ask = async |buyer: &str| app.public.get("/api/v1/orders", Some(&app.token(buyer))).await;
    for _ in 0..3 {
        ask("alice").await.ok(200);
        app.public.get("/api/v1/sales/sale-1/gate", Some(&app.token("alice"))).await.ok(200);
    }
    let refused = ask("alice").await;
    assert_eq!(refused.header("ratelimit"), Some(r#""browse";r=0;t=1"#));
    refused.refused("rate_limited");
    ask("bob").await.ok(200);
    app.ticket("alice").await;
    app.ticket("alice").await;
    app.ticket_answer("alice").await.refused("rate_limited");
    app.clock.advance(334);
    ask("alice").await.ok(200);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_burst_within_one_millisecond_from_many_connections_is_cut_exactly() {
    let settings = vec![("SECKILL_BUYER_LIMIT", "50/1")];
    let app = Arc::new(App::with(Options { stock: 1000, settings, ..Options::default() }).await);
    let (ticket, _) = app.ticket("bob").await;
    let mut requests = tokio::task::JoinSet::new();
    // Twenty clients, with connections of their own each.
    let clients: Vec<_> = (0..20).map(|_| Client::new(&format!("http://{}", app.address))).collect();
    for n in 0..200 {
        let (app, ticket, client) = (app.clone(), ticket.clone(), clients[n % 20].clone());
        requests.spawn(async move {
            let token = app.token("alice");
            let (step, body) = match n % 2 {
                0 => ("tickets", json!({})),
                _ => ("orders", json!({ "ticket": ticket, "quantity": 1 })),
            };
            client.post(&format!("{BUY}/{step}"), Some(&token), &body).await.status
        });
    }
    let answers = requests.join_all().await;
    let refused = answers.iter().filter(|status| **status == 429).count();
    assert_eq!(answers.len() - refused, 50, "{answers:?}");
}

#[tokio::test]
async fn answers_say_where_a_buyer_stands_and_when_to_come_back() {
    let settings = vec![("SECKILL_BUYER_LIMIT", "2/20"), ("SECKILL_SALE_LIMIT", "3/30")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let told = |answer: &Answer| {
        ["ratelimit-policy", "ratelimit", "retry-after"].map(|n| answer.header(n).unwrap_or("").to_owned())
    };
    let policy = r#""buyer";q=2;w=20"#;
    let first = app.ticket_answer("alice").await.ok(200);
    assert_eq!(told(&first), [policy, r#""buyer";r=1;t=10"#, ""]);
    let second = app.order("alice", "no ticket", 1).await;
    second.refused("invalid_ticket");
    assert_eq!(told(&second), [policy, r#""buyer";r=0;t=20"#, ""]);
    app.clock.advance(2500);
    let third = app.ticket_answer("alice").await;
    third.refused("rate_limited");
    assert_eq!(told(&third), [policy, r#""buyer";r=0;t=8"#, "8"]);
    app.clock.advance(7500);
    app.ticket("alice").await;
    app.ticket("bob").await;
    app.ticket("carol").await;
    let full = app.ticket_answer("dora").await;
    full.refused("rate_limited");
    assert_eq!(told(&full), [r#""sale";q=3;w=30"#, r#""sale";r=0;t=10"#, "10"]);
}

#[tokio::test]
async fn a_sales_rules_change_its_limits_while_it_runs() {
    let settings = vec![("SECKILL_BUYER_LIMIT", "3/1")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let passed = async |buyer| {
        let mut passed = 0;
        while passed < 20 && app.ticket_answer(buyer).await.status == 200 {
            passed += 1;
        }
        passed
    };
    assert_eq!(passed("alice").await, 3);
    let set = async |version, rules: &str| {
        {
            let mut sales = app.behind.sales.lock();
            sales[0].rules = serde_json::from_str(rules).unwrap();
            sales[0].version = version;
        }
        // What an operator's change of the sale does at once.
        app.admin_patch("/admin/v1/sales/sale-1", "{}").await.ok(200);
        app.clock.advance(10_000);
    };
    set(2, r#"{"buyer_limit":"5/1"}"#).await;
    assert_eq!(passed("alice").await, 5);
    assert_eq!(passed("bob").await, 5);
    set(3, r#"{"buyer_limit":"off","sale_limit":"7/1"}"#).await;
    assert_eq!(passed("alice").await, 7);
    assert_eq!(passed("bob").await, 0, "the sale's");
    set(4, "{}").await;
    assert_eq!(passed("alice").await, 3);
    assert_eq!(passed("bob").await, 3);
}

#[tokio::test]
async fn other_gateways_hear_of_new_rules_by_themselves() {
    let app =
        App::with(Options { settings: vec![("SECKILL_BUYER_LIMIT", "3/1")], ..Options::default() }).await;
    {
        let mut sales = app.behind.sales.lock();
        sales[0].rules = serde_json::from_str(r#"{"buyer_limit":"1/1"}"#).unwrap();
        sales[0].version = 2;
    }
    until("the rule", async || {
        app.clock.advance(1000);
        app.ticket("alice").await;
        (app.ticket_answer("alice").await.status == 429).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_address_behind_trusted_proxies_is_the_rightmost_stranger() {
    let settings = vec![("SECKILL_ADDRESS_LIMIT", "2/1"), ("SECKILL_TRUSTED_PROXIES", "127.0.0.0/8")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let ask = async |chain: &str| {
        let mut headers = authorized(None);
        headers.insert("x-forwarded-for", HeaderValue::from_str(chain).unwrap());
        app.public.send(Method::GET, "/api/v1/sales", headers, b"").await.status.as_u16()
    };
    // What a client writes into the field itself makes no difference.
    for (chain, status) in [("6.6.6.6, 1.1.1.1", 200), ("7.7.7.7, 1.1.1.1, 127.0.0.9", 200), ("1.1.1.1", 429)]
    {
        assert_eq!(ask(chain).await, status, "{chain}");
    }
    assert_eq!(ask("1.1.1.2").await, 200);
    assert_eq!(ask("2001:db8::1").await, 200);
    assert_eq!(ask("2001:db8::2").await, 200);
    assert_eq!(ask("2001:db8::3").await, 429, "one network of 64 bits");
}

#[tokio::test]
async fn a_forged_chain_from_an_untrusted_peer_counts_for_nothing() {
    let settings = vec![("SECKILL_ADDRESS_LIMIT", "2/1")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    for (chain, status) in [("1.1.1.1", 200), ("2.2.2.2", 200), ("3.3.3.3", 429)] {
        let mut headers = authorized(None);
        headers.insert("x-forwarded-for", HeaderValue::from_static(chain));
        let answer = app.public.send(Method::GET, "/api/v1/sales", headers, b"").await;
        assert_eq!(answer.status.as_u16(), status, "{chain}");
    }
}

#[tokio::test]
async fn files_and_webhooks_count_against_nobody_and_only_pages_get_a_page() {
    let settings = vec![("SECKILL_ADDRESS_LIMIT", "1/3600")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let html = async |path: &str| {
        let mut headers = authorized(None);
        headers.insert("accept", HeaderValue::from_static("text/html,*/*;q=0.8"));
        app.public.send(Method::GET, path, headers, &[]).await
    };
    html("/").await.ok(200);
    for _ in 0..30 {
        app.public.get("/assets/css/shop.css", None).await.ok(200);
        app.public.post("/api/v1/payments/webhook", None, &json!({})).await.refused("bad_signature");
    }
    let busy = html("/").await.ok(503);
    assert_eq!(busy.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(
        (busy.header("retry-after"), busy.header("ratelimit")),
        (Some("3600"), Some(r#""address";r=0;t=3600"#))
    );
    html("/api/v1/sales").await.refused("rate_limited");
}
