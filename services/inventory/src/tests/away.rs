//! What the internal listener answers while the database of sales is away.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::Response;
use contract::Code;
use domain::SaleId;
use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode};
use tower::ServiceExt;

use super::Stage;
use crate::routes;
use crate::sale_store::{Edit, IdempotencyKey, SaleRow, SaleStore, SaleStoreError};

/// What the log may say, and no answer.
const WHY: &str = "connection to 10.0.0.7 refused";

/// A store that fails in one way only.
struct Failing(fn(String) -> SaleStoreError);

impl Failing {
    fn answer<T>(&self) -> Result<T, SaleStoreError> {
        Err((self.0)(WHY.into()))
    }
}

#[async_trait]
impl SaleStore for Failing {
    async fn create(&self, _: &SaleRow, _: Option<&IdempotencyKey>) -> Result<SaleRow, SaleStoreError> {
        self.answer()
    }

    async fn edit(
        &self,
        _: &SaleId,
        _: &Edit,
        _: Option<&IdempotencyKey>,
    ) -> Result<SaleRow, SaleStoreError> {
        self.answer()
    }

    async fn get(&self, _: &SaleId) -> Result<SaleRow, SaleStoreError> {
        self.answer()
    }

    async fn all(&self) -> Result<Vec<SaleRow>, SaleStoreError> {
        self.answer()
    }
}

async fn ask(stage: &Stage, method: Method, path: &str) -> Response {
    let request =
        Request::builder().method(method).uri(format!("/internal/v1{path}")).body(Body::empty()).unwrap();
    let router = routes::router(routes::App { inventory: stage.inventory.clone() });
    router.oneshot(request).await.unwrap()
}

async fn body(answer: Response) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn over(failing: fn(String) -> SaleStoreError) -> Stage {
    let mut stage = Stage::open().await;
    Arc::get_mut(&mut stage.inventory).expect("nobody else has it yet").sales = Arc::new(Failing(failing));
    stage
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503_and_says_when_to_come_back() {
    let stage = over(SaleStoreError::Unavailable).await;
    for (method, path) in [
        (Method::GET, "/sales"),
        (Method::GET, "/sales/lamp"),
        (Method::GET, "/audit"),
        (Method::GET, "/admin/sales"),
        (Method::GET, "/admin/sales/lamp"),
        (Method::GET, "/admin/sales/lamp/ledger"),
        (Method::POST, "/admin/sales/lamp/pause"),
    ] {
        let answer = ask(&stage, method, path).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.headers()["retry-after"], "1", "{path}");
        let said = body(answer).await;
        let code = Code::Unavailable.as_str();
        assert!(said.contains(code) && !said.contains(WHY), "{path}: {said}");
    }
}

/// The control: what will not be over in a moment is nobody's to retry.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_a_500() {
    let stage = over(SaleStoreError::Refused).await;
    let answer = ask(&stage, Method::GET, "/sales").await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.headers().get("retry-after").is_none());
    let said = body(answer).await;
    assert!(said.contains(Code::Internal.as_str()) && !said.contains(WHY), "{said}");
}
