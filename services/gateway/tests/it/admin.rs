//! The operators' listener.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use contract::api::Finding;
use domain::{OrderId, UnixMillis};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use crate::support::app::{ADMIN_TOKEN, App};
use crate::support::{NOW, until};

const TOKEN: Option<&str> = Some(ADMIN_TOKEN);

#[tokio::test]
async fn only_the_operators_token_opens_it_and_health_is_open() {
    let app = App::start().await;
    for path in ["/admin/v1/sales", "/admin/v1/audit", "/admin/v1/nowhere"] {
        for token in [None, Some("wrong"), Some(app.token("alice").as_str())] {
            app.admin.get(path, token).await.refused("unauthenticated");
        }
    }
    app.admin.get("/healthz", None).await.ok(200);
    app.admin.get("/readyz", None).await.ok(200);
    let metrics = app.admin.get("/metrics", None).await.ok(200);
    assert!(String::from_utf8_lossy(&metrics.body).contains("gateway_purchase_granted_total"));
    app.admin.post("/healthz", None, &json!({})).await.refused("method_not_allowed");
    for path in ["/healthz", "/metrics", "/admin/v1/sales"] {
        app.public.get(path, TOKEN).await.refused("not_found");
    }
}

#[tokio::test]
async fn sales_are_inventorys() {
    let app = App::start().await;
    let post = async |path: &str, body| app.admin.post(path, TOKEN, &body).await;
    let made = post("/admin/v1/sales", json!({ "title": "x" })).await.ok(201).json();
    assert_eq!(made["uri"], "/internal/v1/admin/sales");
    assert_eq!(made["body"], r#"{"title":"x"}"#);
    for action in ["pause", "resume", "end", "restock"] {
        let done =
            post(&format!("/admin/v1/sales/sale-1/{action}"), json!({ "quantity": 1 })).await.ok(200).json();
        assert_eq!(done["uri"], format!("/internal/v1/admin/sales/sale-1/{action}"));
    }
    for suffix in ["", "/sale-1", "/sale-1/ledger"] {
        let shown = app.admin.get(&format!("/admin/v1/sales{suffix}"), TOKEN).await.ok(200).json();
        assert_eq!(shown["uri"], format!("/internal/v1/admin/sales{suffix}"));
    }
    // A sale may be called like an action.
    for action in ["pause", "resume", "end", "restock"] {
        let path = format!("/admin/v1/sales/{action}/{action}");
        let done = post(&path, json!({ "quantity": 1 })).await.ok(200).json();
        assert_eq!(done["uri"], format!("/internal/v1/admin/sales/{action}/{action}"));
    }
    let shown = app.admin.get("/admin/v1/sales/ledger/ledger", TOKEN).await.ok(200).json();
    assert_eq!(shown["uri"], "/internal/v1/admin/sales/ledger/ledger");
    let shown = app.admin.get("/admin/v1/sales/sale%2D1", TOKEN).await.ok(200).json();
    assert_eq!(shown["uri"], "/internal/v1/admin/sales/sale-1");
    let mut headers = crate::support::http::authorized(TOKEN);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("idempotency-key", HeaderValue::from_static("key-1"));
    let changed =
        app.admin.send(Method::PATCH, "/admin/v1/sales/sale-1", headers.clone(), b"{}").await.ok(200);
    assert_eq!(changed.json()["method"], "PATCH");
    let passed = app.behind.asked.lock().last().unwrap().2.clone();
    assert_eq!(passed.get("idempotency-key").unwrap(), "key-1");
    assert!(passed.get("x-request-id").is_some());
    assert!(passed.get("authorization").is_none(), "the operators' token stays here");
    headers.remove(header::CONTENT_TYPE);
    app.admin
        .send(Method::PATCH, "/admin/v1/sales/sale-1", headers, b"{}")
        .await
        .refused("unsupported_media_type");
    app.admin.get("/admin/v1/sales/NOT-AN-ID", TOKEN).await.refused("sale_not_found");
    app.admin.get("/admin/v1/sales/%ff/ledger", TOKEN).await.refused("sale_not_found");
    app.admin.get("/admin/v1/sales/conflict", TOKEN).await.refused("conflict");
    app.admin.get("/admin/v1/sales/locked", TOKEN).await.refused("unavailable");
    let wrong =
        app.admin.send(Method::DELETE, "/admin/v1/sales", crate::support::http::authorized(TOKEN), b"").await;
    wrong.refused("method_not_allowed");
    post("/admin/v1/sales", json!({ "title": "x".repeat(17_000) })).await.refused("too_large");
}

#[tokio::test]
async fn a_new_sale_is_on_sale_here_at_once() {
    let app = App::start().await;
    let mut another = crate::support::app::sale(0, 5);
    (another.sale.id, another.slug) = ("sale-2".parse().unwrap(), "ff".into());
    app.behind.sales.lock().push(another);
    app.public.get("/api/v1/sales/sale-2", None).await.refused("sale_not_found");
    app.admin.post("/admin/v1/sales", TOKEN, &json!({})).await.ok(201);
    app.public.get("/api/v1/sales/sale-2", None).await.ok(200);
}

#[tokio::test]
async fn orders_are_the_order_services_and_the_audit_is_both() {
    let app = App::start().await;
    let order = OrderId::mint(UnixMillis(NOW), [3; 10]);
    let shown = app.admin.get(&format!("/admin/v1/orders/{order}"), TOKEN).await.ok(200).json();
    assert_eq!(shown["uri"], format!("/internal/v1/admin/orders/{order}"));
    let refunded =
        app.admin.post(&format!("/admin/v1/orders/{order}/refund"), TOKEN, &json!({})).await.ok(200);
    assert_eq!(refunded.json()["uri"], format!("/internal/v1/admin/orders/{order}/refund"));
    app.admin.get("/admin/v1/orders/x", TOKEN).await.refused("order_not_found");

    let audit = app.admin.get("/admin/v1/audit", TOKEN).await.ok(200).json();
    assert_eq!(audit, json!({ "ok": true, "findings": [] }));
    let finding = Finding { invariant: "I1".into(), sale: None, detail: "one too many".into() };
    app.behind.findings.lock().push(finding);
    let audit = app.admin.get("/admin/v1/audit", TOKEN).await.ok(200).json();
    assert_eq!((&audit["ok"], audit["findings"].as_array().unwrap().len()), (&json!(false), 2));
}

#[tokio::test]
async fn two_audits_are_at_work_at_once_and_a_third_is_refused() {
    let app = App::start().await;
    let held = app.behind.auditors.write().await;
    let mut asked: FuturesUnordered<_> = (0..3).map(|_| app.admin.get("/admin/v1/audit", TOKEN)).collect();
    // The others wait for what is held.
    asked.next().await.expect("three were asked").refused("overloaded");
    drop(held);
    while let Some(answer) = asked.next().await {
        answer.ok(200);
    }
    app.admin.get("/admin/v1/audit", TOKEN).await.ok(200);
}

#[tokio::test]
async fn queues_and_dead_letters_are_the_brokers() {
    let app = App::start().await;
    let queues = app.admin.get("/admin/v1/queues", TOKEN).await.ok(200).json();
    assert_eq!(queues["lanes"][0]["name"], "lane-0");
    assert_eq!(queues["dead_letters"][0]["depth"], 1);
    assert_eq!(queues["others"]["seckill.notify"]["name"], "seckill.notify");
    let letters = app.admin.get("/admin/v1/dead-letters", TOKEN).await.ok(200).json();
    assert_eq!(letters["dead_letters"][0]["id"], "7");
    app.admin.post("/admin/v1/dead-letters/7/replay", TOKEN, &json!({})).await.ok(200);
    assert_eq!(*app.queue.replayed.lock(), ["7"]);
    app.admin.post("/admin/v1/dead-letters/8/replay", TOKEN, &json!({})).await.refused("not_found");
    app.queue.unreachable.store(true, std::sync::atomic::Ordering::SeqCst);
    app.admin.get("/admin/v1/queues", TOKEN).await.refused("unavailable");
    until("not ready", async || {
        (app.admin.send(Method::GET, "/readyz", HeaderMap::new(), b"").await.status == 503).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_cannot_sell_is_not_ready() {
    let app = App::start().await;
    let turns = async |status| {
        let ready = async || app.admin.get("/readyz", None).await;
        until("its readiness", async || Some(ready().await).filter(|answer| answer.status == status)).await
    };
    for (broken, part) in [
        (&app.stock.unreachable, "the stock store"),
        (&app.queue.unreachable, "the order queue"),
        (&app.queue.blocked, "the order queue"),
    ] {
        broken.store(true, std::sync::atomic::Ordering::SeqCst);
        let told = turns(503).await;
        assert!(String::from_utf8_lossy(&told.body).contains(part), "{told:?}");
        broken.store(false, std::sync::atomic::Ordering::SeqCst);
        turns(200).await;
    }
}

#[tokio::test]
async fn every_act_is_recorded_before_and_after_and_no_secret_with_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path: &'static str = file.path().to_str().unwrap().to_owned().leak();
    let settings = vec![("SECKILL_AUDIT_FILE", path)];
    let app = App::with(crate::support::Options { settings, ..Default::default() }).await;
    app.admin.get("/admin/v1/sales", TOKEN).await.ok(200);
    app.admin.post("/admin/v1/sales/sale-1/restock", TOKEN, &json!({ "quantity": 7 })).await.ok(200);
    app.admin.post("/admin/v1/dead-letters/8/replay", TOKEN, &json!({})).await.refused("not_found");
    app.admin.post("/admin/v1/sales/sale-1/end", Some("wrong"), &json!({})).await.refused("unauthenticated");
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 4, "acts only, and none that was not let in: {text}");
    let restock = "/admin/v1/sales/sale-1/restock";
    assert_eq!((&lines[0]["path"], &lines[0]["body"]), (&json!(restock), &json!(r#"{"quantity":7}"#)));
    assert_eq!(lines[0]["status"], json!(null));
    assert_eq!((&lines[1]["status"], &lines[1]["request"]), (&json!(200), &lines[0]["request"]));
    assert_eq!(lines[3]["status"], 404);
    assert!(lines[0]["at"] == json!(NOW) && lines[0]["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(!text.contains(ADMIN_TOKEN));
}
