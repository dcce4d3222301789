//! Pages, documents, the demo's routes, webhooks and the pay page.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};

use crate::support::{App, NOW, Options};

async fn with(app: &App, path: &str, name: &'static str, value: &str) -> crate::support::Answer {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_str(value).unwrap());
    app.public.send(Method::GET, path, headers, b"").await
}

#[tokio::test]
async fn documents_have_strong_tags_and_are_sent_once() {
    let app = App::start().await;
    for path in ["/", "/s/sale-1", "/assets/css/shop.css", "/api/v1/sales", "/api/v1/sales/sale-1"] {
        let answer = app.public.get(path, None).await.ok(200);
        let etag = answer.header("etag").expect("an ETag").to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
        assert!(answer.header("cache-control").unwrap().starts_with("public"), "{path}");
        let again = with(&app, path, "if-none-match", &format!("\"other\", W/{etag}")).await.ok(304);
        assert!(again.body.is_empty());
        assert_eq!(again.header("etag"), Some(etag.as_str()));
        let head = app.public.send(Method::HEAD, path, HeaderMap::new(), b"").await.ok(200);
        assert!(head.body.is_empty());
    }
    app.behind.sales.lock()[0].version = 2;
    app.behind.sales.lock()[0].sale.title = "Renamed".into();
    app.broadcast(1, 9, contract::events::SaleNews::Opened);
    crate::support::until("the new title", async || {
        let sale = app.public.get("/api/v1/sales", None).await.ok(200).json();
        (sale["sales"][0]["title"] == "Renamed").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_sale_is_shown_as_the_contract_says() {
    let app = App::start().await;
    let expected = json!({
        "id": "sale-1", "title": "One of ten", "price_cents": 1999, "currency": "EUR", "stock": 10,
        "per_user_limit": 2, "opens_at": NOW, "ends_at": NOW + 3_600_000, "pay_within_s": 900,
    });
    assert_eq!(app.public.get("/api/v1/sales/sale-1", None).await.ok(200).json(), expected);
    let list = app.public.get("/api/v1/sales", None).await.ok(200).json();
    assert_eq!(list, json!({ "sales": [expected] }));
    for odd in ["nothing", "%ff", "SALE-1", "%2e%2e"] {
        app.public.get(&format!("/api/v1/sales/{odd}"), None).await.refused("sale_not_found");
        app.public.get(&format!("/api/v1/sales/{odd}/gate"), None).await.refused("sale_not_found");
    }
}

#[tokio::test]
async fn pages_keep_to_themselves_and_unknown_ones_are_404() {
    let app = App::start().await;
    let page = app.public.get("/s/sale-1", None).await.ok(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    // People are shown a page, programs are told a problem.
    let missing = with(&app, "/s/nothing", "accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8").await;
    assert_eq!(missing.ok(404).header("content-type"), Some("text/html; charset=utf-8"));
    app.public.get("/s/nothing", None).await.refused("sale_not_found");
    with(&app, "/s/nothing", "accept", "application/json").await.refused("sale_not_found");
    with(&app, "/s/nothing", "accept", "*/*").await.refused("sale_not_found");
    for odd in
        ["/assets/", "/assets/no.js", "/assets/../index.html", "/assets/%2e%2e/index.html", "/index.html"]
    {
        app.public.get(odd, None).await.refused("not_found");
    }
}

#[tokio::test]
async fn the_demo_logs_in_whoever_has_a_proper_name() {
    let settings = vec![("SECKILL_DEMO", "true")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let login = "/api/v1/demo/login";
    let token = app.public.post(login, None, &json!({ "user": "alice" })).await.ok(200).json();
    let token = token["token"].as_str().unwrap();
    assert_eq!(app.identity.buyer(token, domain::UnixMillis(NOW)), Some("alice".parse().unwrap()));
    for bad in [
        json!({ "user": "A B" }),
        json!({ "user": "" }),
        json!({}),
        json!({ "user": "a", "x": 1 }),
        Value::Null,
    ] {
        app.public.post(login, None, &bad).await.refused("bad_request");
    }
    let mailbox = app.public.get("/api/v1/demo/mailbox", Some(token)).await.ok(200).json();
    assert_eq!(mailbox, json!({ "notices": [] }));
    app.public.get("/api/v1/demo/mailbox", None).await.refused("unauthenticated");
}

#[tokio::test]
async fn outside_the_demo_there_is_no_login() {
    let app = App::start().await;
    app.public.post("/api/v1/demo/login", None, &json!({ "user": "alice" })).await.refused("not_found");
    app.public.get("/api/v1/demo/mailbox", Some(&app.token("alice"))).await.refused("not_found");
}

#[tokio::test]
async fn a_webhook_is_passed_on_byte_for_byte() {
    let app = App::start().await;
    let path = "/api/v1/payments/webhook";
    let mut headers = HeaderMap::new();
    headers.insert("seckill-signature", HeaderValue::from_static("t=1,v1=00"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("cookie", HeaderValue::from_static("private"));
    let body = b"{ \"odd\":   1}\n";
    app.public.send(Method::POST, path, headers, body).await.ok(200);
    let (_, _, headers, passed) = app.behind.asked.lock().last().cloned().unwrap();
    assert_eq!(&passed[..], body);
    assert_eq!(headers.get("seckill-signature").unwrap(), "t=1,v1=00");
    assert!(headers.get("cookie").is_none());
    app.public.post(path, None, &json!({})).await.refused("bad_signature");
    let huge = vec![b' '; 17_000];
    app.public.send(Method::POST, path, HeaderMap::new(), &huge).await.refused("too_large");
}

#[tokio::test]
async fn the_pay_page_is_the_order_services() {
    let app = App::start().await;
    let page = app.public.get("/pay/p-1", None).await.ok(200).json();
    assert_eq!((&page["method"], &page["uri"]), (&json!("GET"), &json!("/pay/p-1")));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let paid = app.public.send(Method::POST, "/pay/p-1", headers, b"outcome=succeed").await.ok(303);
    assert_eq!(paid.header("location"), Some("/s/sale-1"));
    for odd in ["/pay/..%2finternal", "/pay/a%20b", "/pay/%ff"] {
        app.public.get(odd, None).await.refused("not_found");
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_a_given_one_is_kept() {
    let app = App::start().await;
    let buy = crate::support::app::BUY;
    for path in ["/", "/nowhere", "/api/v1/sales/sale-1/gate", &format!("{buy}/tickets")] {
        let one = app.public.get(path, None).await.header("x-request-id").unwrap().to_owned();
        let other = app.public.get(path, None).await.header("x-request-id").unwrap().to_owned();
        assert_ne!(one, other);
        assert_eq!(with(&app, path, "x-request-id", "mine").await.header("x-request-id"), Some("mine"));
        let long = "x".repeat(65);
        assert_ne!(with(&app, path, "x-request-id", &long).await.header("x-request-id"), Some(long.as_str()));
    }
}

#[tokio::test]
async fn pages_come_compressed_with_tags_of_their_own() {
    let app = App::start().await;
    let mut sizes = Vec::new();
    let mut tags = Vec::new();
    for (accepted, encoding) in [("identity", None), ("gzip", Some("gzip")), ("gzip, br", Some("br"))] {
        let page = with(&app, "/s/sale-1", "accept-encoding", accepted).await.ok(200);
        assert_eq!(page.header("content-encoding"), encoding);
        assert_eq!(page.header("vary"), Some("accept-encoding"));
        sizes.push(page.body.len());
        tags.push(page.header("etag").unwrap().to_owned());
    }
    assert!(sizes[0] > sizes[1] && sizes[1] > sizes[2], "{sizes:?}");
    let mut headers = HeaderMap::new();
    headers.insert("accept-encoding", HeaderValue::from_static("br"));
    headers.insert("if-none-match", HeaderValue::from_str(&tags[2]).unwrap());
    app.public.send(Method::GET, "/s/sale-1", headers.clone(), b"").await.ok(304);
    headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
    app.public.send(Method::GET, "/s/sale-1", headers, b"").await.ok(200);
}

#[tokio::test]
async fn a_sales_page_names_what_is_sold_and_changes_with_it() {
    let app = App::start().await;
    let page = async || {
        let page = app.public.get("/s/sale-1", None).await.ok(200);
        String::from_utf8(page.body.to_vec()).unwrap()
    };
    assert!(page().await.contains("<title>One of ten · "));
    app.behind.sales.lock()[0].sale.title = "<script>alert(1)</script> & co".into();
    app.behind.sales.lock()[0].version = 2;
    app.broadcast(1, 9, contract::events::SaleNews::Opened);
    crate::support::until("the new title", async || {
        let page = page().await;
        assert!(!page.contains("<script>alert"));
        page.contains("<title>&lt;script&gt;alert(1)&lt;/script&gt; &amp; co · ").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stale_page_is_served_and_checked_behind_it() {
    let app = App::start().await;
    let title = async || app.public.get("/api/v1/sales/sale-1", None).await.ok(200).json()["title"].clone();
    app.behind.sales.lock()[0].sale.title = "Renamed".into();
    app.behind.sales.lock()[0].version = 2;
    // Nothing is broadcast; asking is what makes the gateway look, well before its own time.
    let started = tokio::time::Instant::now();
    crate::support::until("the new title", async || (title().await == "Renamed").then_some(())).await;
    assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn other_origins_are_let_in_by_setting_only() {
    let open = vec![("SECKILL_CORS_ORIGINS", "https://shop.example")];
    let app = App::with(Options { settings: open, ..Options::default() }).await;
    let gate = "/api/v1/sales/sale-1/gate";
    let answer = with(&app, gate, "origin", "https://shop.example").await.ok(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("retry-after"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let other = with(&app, gate, "origin", "https://evil.example").await.ok(200);
    assert_eq!(other.header("access-control-allow-origin"), None);
    // Caches keep what one was answered for the others too.
    let own = app.public.get(gate, None).await.ok(200);
    for answer in [&answer, &other, &own] {
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    let page = app.public.get("/s/sale-1", None).await.ok(200);
    let vary: Vec<_> = page.headers.get_all(header::VARY).iter().collect();
    assert_eq!(vary, ["accept-encoding", "origin"]);
    let preflight = async |origin: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_static(origin));
        headers.insert("access-control-request-method", HeaderValue::from_static("POST"));
        let path = format!("{}/orders", crate::support::app::BUY);
        app.public.send(Method::OPTIONS, &path, headers, b"").await
    };
    let welcome = preflight("https://shop.example").await.ok(204);
    assert!(welcome.header("access-control-allow-headers").unwrap().contains("authorization"));
    preflight("https://evil.example").await.refused("method_not_allowed");
    let closed = App::start().await;
    let answer = with(&closed, gate, "origin", "https://shop.example").await.ok(200);
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (None, None));
}

#[tokio::test]
async fn where_all_origins_are_let_in_no_answer_depends_on_one() {
    let open = vec![("SECKILL_CORS_ORIGINS", "*")];
    let app = App::with(Options { settings: open, ..Options::default() }).await;
    let gate = "/api/v1/sales/sale-1/gate";
    for answer in [with(&app, gate, "origin", "https://a.example").await, app.public.get(gate, None).await] {
        let answer = answer.ok(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("retry-after"));
        assert_eq!(answer.header("vary"), None);
    }
}
