//! The API's document and the routes are one and the same.

use axum::http::{HeaderValue, Method, header};
use serde_json::{Value, json};

use crate::support::app::SLUG;
use crate::support::http::authorized;
use crate::support::{App, Options};

#[tokio::test]
async fn every_route_is_documented_and_every_documented_answer_is_one() {
    let settings = vec![("SECKILL_DEMO", "true")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let (_, order) = app.buy("alice").await;
    app.row(order, "alice", domain::OrderStatus::PendingPayment);
    let document: Value = app.public.get("/api/openapi.json", None).await.ok(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 18, "{}", paths.len());
    let all = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    for (path, item) in paths {
        let real = path
            .replace("{sale}", "sale-1")
            .replace("{slug}", SLUG)
            .replace("{id}", &order.to_string())
            .replace("{reference}", "p-1")
            .replace("{path}", "css/shop.css");
        for method in &all {
            let told = &item[method.as_str().to_lowercase()];
            // A stream that is open ends with the test only.
            let is_stream = told["responses"]["200"]["content"].get("text/event-stream").is_some();
            let tokens = if is_stream { vec![None] } else { vec![None, Some(app.token("alice"))] };
            for (token, body) in tokens.iter().flat_map(|t| [(t, ""), (t, "{}"), (t, "nonsense")]) {
                let mut headers = authorized(token.as_deref());
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                let answer = app.public.send(method.clone(), &real, headers, body.as_bytes()).await;
                let status = answer.status.as_u16();
                assert_eq!(status == 405, told.is_null(), "{method} {path}: {status}");
                if !told.is_null() {
                    let is_documented = told["responses"].get(status.to_string()).is_some();
                    assert!(is_documented, "{method} {path} {body:?}: {status} {:?}", answer.body);
                }
            }
        }
    }
    let schemas = &document["components"]["schemas"];
    let text = document.to_string();
    for part in text.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert_ne!(schemas[name], json!(null), "{name}");
    }
}
