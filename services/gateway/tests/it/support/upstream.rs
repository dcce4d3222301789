//! Stand-ins for the services behind the gateway.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use contract::api::{Audit, Finding, OrderList, PaymentStarted};
use contract::internal::{Catalogue, CatalogueSale, OnBehalfOf, OrderRow};
use contract::{Code, api::Mailbox};
use domain::OrderId;
use parking_lot::Mutex;
use serde_json::json;
use service_kit::http::{ApiError, HttpClient, ServerLimits, X_REQUEST_ID, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the services behind the gateway know, and what they were asked.
#[derive(Default)]
pub struct Behind {
    pub sales: Mutex<Vec<CatalogueSale>>,
    pub rows: Mutex<HashMap<OrderId, OrderRow>>,
    /// Rows that the next act does not find yet.
    pub comes_late: Mutex<HashSet<OrderId>>,
    pub asked: Mutex<Vec<(Method, String, HeaderMap, Bytes)>>,
    /// Each time a row was asked for: which, and by which request.
    pub looks: Mutex<Vec<(String, Option<String>)>>,
    /// Rows are kept back while a test holds it.
    pub readers: tokio::sync::RwLock<()>,
    pub findings: Mutex<Vec<Finding>>,
    /// Audits wait while a test holds it.
    pub auditors: tokio::sync::RwLock<()>,
}

type Shared = State<Arc<Behind>>;

impl Behind {
    /// Serves all of it on one port.
    pub async fn serve(self: &Arc<Self>, shutdown: CancellationToken) -> HttpClient {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/internal/v1/sales", get(sales))
            .route("/internal/v1/orders/{id}", get(row))
            .route("/internal/v1/orders/{id}/payment", post(payment))
            .route("/internal/v1/orders/{id}/cancel", post(cancel))
            .route("/internal/v1/buyers/{buyer}/orders", get(orders))
            .route("/internal/v1/audit", get(audit))
            .route("/internal/v1/mailbox/{buyer}", get(mailbox))
            .route("/internal/v1/webhook", post(webhook))
            .route("/internal/v1/admin/{*rest}", any(echo))
            .route("/pay/{reference}", get(echo).post(pay))
            .with_state(self.clone());
        tokio::spawn(serve(listener, router, ServerLimits::default(), shutdown));
        HttpClient::new(&base, None)
    }

    /// How often this order's row was asked for.
    pub fn looks_at(&self, order: OrderId) -> usize {
        let order = order.to_string();
        self.looks.lock().iter().filter(|(id, _)| *id == order).count()
    }

    fn row(&self, id: &str) -> Result<OrderRow, ApiError> {
        let row = self.rows.lock().get(&id.parse().unwrap()).cloned();
        row.ok_or_else(|| ApiError::new(Code::OrderNotFound, "none"))
    }

    fn row_of(&self, id: &str, asked: &OnBehalfOf) -> Result<OrderRow, ApiError> {
        if self.comes_late.lock().remove(&id.parse().unwrap()) {
            return Err(ApiError::new(Code::OrderNotFound, "not yet"));
        }
        self.row(id).and_then(|row| {
            if row.buyer == asked.buyer { Ok(row) } else { Err(ApiError::new(Code::OrderNotFound, "theirs")) }
        })
    }
}

async fn sales(State(behind): Shared) -> Json<Catalogue> {
    Json(Catalogue { sales: behind.sales.lock().clone() })
}

async fn row(
    State(behind): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<OrderRow>, ApiError> {
    let request = headers.get(X_REQUEST_ID).map(|id| id.to_str().unwrap().to_owned());
    behind.looks.lock().push((id.clone(), request));
    let _told = behind.readers.read().await;
    behind.row(&id).map(Json)
}

async fn payment(
    State(behind): Shared,
    Path(id): Path<String>,
    Json(asked): Json<OnBehalfOf>,
) -> Result<Response, ApiError> {
    let row = behind.row_of(&id, &asked)?;
    if row.order.status != domain::OrderStatus::PendingPayment {
        return Err(ApiError::new(Code::NotPayable, "not pending"));
    }
    let started = PaymentStarted { payment_url: format!("/pay/p-{id}"), reference: format!("p-{id}") };
    Ok(Json(started).into_response())
}

async fn cancel(
    State(behind): Shared,
    Path(id): Path<String>,
    Json(asked): Json<OnBehalfOf>,
) -> Result<Response, ApiError> {
    let row = behind.row_of(&id, &asked)?;
    if row.order.status != domain::OrderStatus::PendingPayment {
        return Err(ApiError::new(Code::NotCancellable, "not pending"));
    }
    Ok(Json(row.order).into_response())
}

async fn orders(State(behind): Shared, Path(buyer): Path<String>, uri: Uri) -> Json<OrderList> {
    behind.asked.lock().push((Method::GET, uri.to_string(), HeaderMap::new(), Bytes::new()));
    let rows = behind.rows.lock();
    let orders = rows.values().filter(|row| row.buyer.as_str() == buyer).map(|row| row.order.clone());
    Json(OrderList { orders: orders.collect(), next: None })
}

async fn audit(State(behind): Shared) -> Json<Audit> {
    let _at_work = behind.auditors.read().await;
    let findings = behind.findings.lock().clone();
    Json(Audit { ok: findings.is_empty(), findings })
}

async fn mailbox() -> Json<Mailbox> {
    Json(Mailbox { notices: Vec::new() })
}

async fn webhook(State(behind): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let signed = headers.contains_key("seckill-signature");
    behind.asked.lock().push((Method::POST, "/internal/v1/webhook".into(), headers, body));
    if signed {
        Json(json!({})).into_response()
    } else {
        ApiError::new(Code::BadSignature, "unsigned").into_response()
    }
}

async fn pay() -> Redirect {
    Redirect::to("/s/sale-1")
}

/// Remembers the request and answers with what it was.
async fn echo(State(behind): Shared, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    behind.asked.lock().push((method.clone(), uri.to_string(), headers, body.clone()));
    let status = if method == Method::POST && uri.path().ends_with("/sales") {
        StatusCode::CREATED
    } else if uri.path().ends_with("/conflict") {
        return ApiError::new(Code::Conflict, "so it is").into_response();
    } else if uri.path().ends_with("/locked") {
        return ApiError::new(Code::Unauthenticated, "who are you").into_response();
    } else {
        StatusCode::OK
    };
    let told =
        json!({ "method": method.as_str(), "uri": uri.to_string(), "body": String::from_utf8_lossy(&body) });
    (status, [(header::CONTENT_TYPE, "application/json")], told.to_string()).into_response()
}
