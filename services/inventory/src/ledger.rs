//! The ledger, as inventory sees it: allocations of the order service, over HTTP.

use contract::Code;
use contract::internal::{AllocationView, PutAllocation, SnapshotLine};
use domain::SaleId;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::HeaderMap;
use service_kit::http::{ClientError, HttpClient};

use crate::sale_store::SaleRow;

/// Longest line of a snapshot, in bytes.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// The order service's allocations.
#[derive(Clone)]
pub(crate) struct Ledger(HttpClient);

impl Ledger {
    pub(crate) fn new(order: HttpClient) -> Self {
        Self(order)
    }

    /// Creates the sale's allocation, or raises its total to the row's.
    pub(crate) async fn put(&self, sale: &SaleRow) -> Result<AllocationView, ClientError> {
        let body = PutAllocation {
            total: sale.terms.stock,
            total_version: sale.total_version,
            price_cents: sale.terms.price.cents,
            currency: sale.terms.price.currency.to_string(),
            per_user_limit: sale.terms.per_user_limit,
            pay_within_s: sale.terms.pay_within_s,
        };
        self.0.call(Method::PUT, &format!("/internal/v1/allocations/{}", sale.id), &body).await
    }

    /// The sale's allocation; `None` if it has none yet.
    pub(crate) async fn allocation(&self, sale: &SaleId) -> Result<Option<AllocationView>, ClientError> {
        match self.0.get(&format!("/internal/v1/allocations/{sale}")).await {
            Ok(view) => Ok(Some(view)),
            Err(e) if matches!(e.code(), Some(Code::SaleNotFound | Code::NotFound)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The sale's snapshot, line by line.
    pub(crate) async fn snapshot(&self, sale: &SaleId) -> Result<SnapshotLines, ClientError> {
        let path = format!("/internal/v1/allocations/{sale}/snapshot");
        let response = self.0.stream(Method::GET, &path, HeaderMap::new(), bytes::Bytes::new()).await?;
        if !response.status().is_success() {
            return Err(ClientError::Garbled(format!("status {} to {path}", response.status())));
        }
        Ok(SnapshotLines { body: response.into_body(), buffer: Vec::new() })
    }
}

/// A snapshot as it streams in.
pub(crate) struct SnapshotLines {
    body: axum::body::Body,
    buffer: Vec<u8>,
}

impl SnapshotLines {
    /// The next line; `None` when the stream is over.
    pub(crate) async fn next(&mut self) -> Result<Option<SnapshotLine>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|e| ClientError::Garbled(format!("snapshot line: {e}")));
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(ClientError::Garbled("a snapshot line is too long".into()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(e)) => return Err(ClientError::Unreachable(format!("snapshot: {e}"))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
