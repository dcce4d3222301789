//! What the internal listener refuses, and how.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use contract::api::{Audit, OrderList};
use contract::internal::SnapshotLine;
use contract::{Code, Problem};
use service_kit::http::Reply;

use super::app::{App, Wishes, id, order, sale};

impl App {
    async fn send(&self, method: Method, path: &str, body: &str) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.http.send(method, path, headers, body.to_owned().into()).await.unwrap()
    }

    async fn assert_refused(&self, method: Method, path: &str, body: &str, code: Code) {
        let reply = self.send(method.clone(), path, body).await;
        let problem: Problem = serde_json::from_slice(&reply.body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}: {:?}", reply.body));
        assert_eq!(
            (problem.code.as_str(), reply.status.as_u16()),
            (code.as_str(), code.status()),
            "{method} {path}"
        );
        assert!(reply.headers.contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn every_refusal_is_a_problem_document() {
    let app = App::start(Wishes::default()).await;
    app.put_sale(1, 1).await;
    app.place(1, "ada").await;
    app.publish(&order(2, "bob", 1)).await;
    app.until_status(2, domain::OrderStatus::Rejected).await;
    let (mine, theirs) = (r#"{"buyer":"ada"}"#, r#"{"buyer":"bob"}"#);
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let at = |n, what| format!("/internal/v1/orders/{}{what}", id(n));
    app.assert_refused(get.clone(), &at(9, ""), "", Code::OrderNotFound).await;
    app.assert_refused(get.clone(), "/internal/v1/orders/nonsense", "", Code::OrderNotFound).await;
    app.assert_refused(post.clone(), &at(1, "/payment"), theirs, Code::OrderNotFound).await;
    app.assert_refused(post.clone(), &at(1, "/cancel"), theirs, Code::OrderNotFound).await;
    app.assert_refused(post.clone(), &at(2, "/payment"), theirs, Code::NotPayable).await;
    app.assert_refused(post.clone(), &at(2, "/cancel"), theirs, Code::NotCancellable).await;
    app.assert_refused(post.clone(), &at(1, "/cancel"), "{", Code::BadRequest).await;
    app.assert_refused(post.clone(), &at(1, "/cancel"), r#"{"buyer":"ada","x":1}"#, Code::BadRequest).await;
    app.assert_refused(post.clone(), &at(1, "/cancel"), &" ".repeat(20_000), Code::TooLarge).await;
    app.assert_refused(put.clone(), &at(1, "/cancel"), mine, Code::MethodNotAllowed).await;
    app.assert_refused(get.clone(), "/internal/v1/nothing", "", Code::NotFound).await;
    app.assert_refused(get.clone(), "/internal/v1/buyers/ada/orders?limit=0", "", Code::BadRequest).await;
    app.assert_refused(get.clone(), "/internal/v1/buyers/ada/orders?limit=101", "", Code::BadRequest).await;
    app.assert_refused(get.clone(), "/internal/v1/buyers/ada/orders?after=x", "", Code::BadRequest).await;
    app.assert_refused(get.clone(), "/internal/v1/allocations/none", "", Code::SaleNotFound).await;
    app.assert_refused(get.clone(), "/internal/v1/allocations/none/snapshot", "", Code::SaleNotFound).await;
    let refund = format!("/internal/v1/admin/orders/{}/refund", id(1));
    app.assert_refused(post.clone(), &refund, "", Code::NotRefundable).await;
    app.assert_refused(post, "/internal/v1/webhook", "{}", Code::BadSignature).await;
    app.end().await;
}

#[tokio::test]
async fn nothing_internal_answers_without_the_token() {
    let app = App::start(Wishes::default()).await;
    for path in ["/internal/v1/audit", "/internal/v1/allocations/lamp", "/internal/v1/buyers/ada/orders"] {
        let reply = app.open.send(Method::GET, path, HeaderMap::new(), Bytes::new()).await.unwrap();
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(reply.headers[header::WWW_AUTHENTICATE], "Bearer");
    }
    app.end().await;
}

#[tokio::test]
async fn lists_snapshots_and_the_audit_are_as_the_contract_says() {
    let app = App::start(Wishes::default()).await;
    app.put_sale(9, 9).await;
    for n in 1..=3 {
        app.place(n, "ada").await;
    }
    let page: OrderList = app.http.get("/internal/v1/buyers/ada/orders?limit=2").await.unwrap();
    assert_eq!((page.orders.len(), page.next.clone()), (2, Some(id(2).to_string())));
    let path = format!("/internal/v1/buyers/ada/orders?limit=2&after={}", page.next.unwrap());
    let rest: OrderList = app.http.get(&path).await.unwrap();
    assert_eq!((rest.orders.len(), rest.next), (1, None));
    let path = format!("/internal/v1/allocations/{}/snapshot", sale());
    let reply = app.send(Method::GET, &path, "").await;
    let lines: Vec<SnapshotLine> = reply
        .body
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert!(matches!(
        lines[..],
        [SnapshotLine::Head { taken: 3, .. }, SnapshotLine::Live(_), SnapshotLine::End]
    ));
    let audit: Audit = app.http.get("/internal/v1/audit").await.unwrap();
    assert!(audit.ok, "{audit:?}");
    app.end().await;
}
