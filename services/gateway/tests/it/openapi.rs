//! The API's document and the routes are one and the same.

use std::collections::BTreeSet;

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
    let mut checked = BTreeSet::new();
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
                    let content = &told["responses"][status.to_string()]["content"];
                    let media_type = answer.headers.get(header::CONTENT_TYPE).map(|v| v.to_str().unwrap());
                    let media_type = media_type.and_then(|v| v.split(';').next()).unwrap_or_default();
                    let schema = &content[media_type]["schema"];
                    if media_type.ends_with("json") && !schema.is_null() {
                        fits(&answer.json(), schema, &document);
                        checked.insert(format!("{method} {path} {status}"));
                    }
                }
            }
        }
    }
    assert!(checked.len() >= 20, "so few answers had a schema: {checked:?}");
    let schemas = &document["components"]["schemas"];
    let text = document.to_string();
    for part in text.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert_ne!(schemas[name], json!(null), "{name}");
    }
}

#[tokio::test]
async fn what_is_asked_for_in_queries_and_headers_is_documented() {
    let app = App::start().await;
    let document: Value = app.public.get("/api/openapi.json", None).await.ok(200).json();
    let asked = |method: &str, path: &str| -> Vec<Value> {
        let told = document["paths"][path][method]["parameters"].as_array().unwrap();
        told.iter().map(|p| json!([p["in"], p["name"], p["required"], p["schema"]["type"]])).collect()
    };
    let paging = [json!(["query", "after", false, "string"]), json!(["query", "limit", false, "integer"])];
    assert_eq!(asked("get", "/api/v1/orders"), paging);
    let signature = [json!(["header", "Seckill-Signature", true, "string"])];
    assert_eq!(asked("post", "/api/v1/payments/webhook"), signature);
    assert_eq!(asked("get", "/api/v1/orders/{id}"), [json!(["path", "id", true, "string"])]);
}

/// Fails unless the value has every field that the schema requires, none that it does not know, and each of
/// its type.
fn fits(value: &Value, schema: &Value, document: &Value) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return fits(value, &document["components"]["schemas"][name], document);
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        let may_be_null = variants.iter().any(|v| v["type"] == "null");
        return match variants.iter().find(|v| v["type"] != "null") {
            Some(variant) if !(may_be_null && value.is_null()) => fits(value, variant, document),
            _ => assert!(value.is_null(), "{value} is not null"),
        };
    }
    let type_of = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_of =
        |told: &Value| told == type_of || told.as_array().is_some_and(|a| a.iter().any(|t| t == type_of));
    assert!(is_of(&schema["type"]), "{value} is no {}", schema["type"]);
    if let Value::Array(items) = value {
        items.iter().for_each(|item| fits(item, &schema["items"], document));
    }
    if let Value::Object(fields) = value {
        for (name, field) in fields {
            let told = &schema["properties"][name];
            assert!(!told.is_null(), "{name} of {value} is not documented");
            fits(field, told, document);
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(fields.contains_key(name.as_str().unwrap()), "{value} has no {name}");
        }
    }
}
