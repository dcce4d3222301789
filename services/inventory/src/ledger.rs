//! The ledger, as inventory sees it: allocations of the order service, over HTTP.

use std::time::Duration;

use contract::Code;
use contract::internal::{AllocationView, OutboxView, PutAllocation, SnapshotLine};
use domain::SaleId;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::HeaderMap;
use service_kit::http::{ClientError, HttpClient};

use crate::sale_store::SaleRow;

/// Longest line of a snapshot, in bytes.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Longest silence in the middle of a snapshot, and before it, in milliseconds: a service that stands still holds
/// its connection open for as long as it stands.
const SILENCE_MS_MAX: u64 = 10_000;

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

    /// What the ledger has not told yet.
    pub(crate) async fn outbox(&self) -> Result<OutboxView, ClientError> {
        self.0.get("/internal/v1/outbox").await
    }

    /// The sale's snapshot, line by line.
    pub(crate) async fn snapshot(&self, sale: &SaleId) -> Result<SnapshotLines, ClientError> {
        let path = format!("/internal/v1/allocations/{sale}/snapshot");
        let asked = self.0.stream(Method::GET, &path, HeaderMap::new(), bytes::Bytes::new());
        let response = heard(asked).await??;
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
            match heard(self.body.frame()).await? {
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

/// What comes before the silence is too long.
async fn heard<T>(coming: impl Future<Output = T>) -> Result<T, ClientError> {
    let silent = |_| ClientError::Unreachable(format!("snapshot: nothing within {SILENCE_MS_MAX} ms"));
    tokio::time::timeout(Duration::from_millis(SILENCE_MS_MAX), coming).await.map_err(silent)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use contract::internal::LiveOrder;
    use futures_util::{StreamExt, stream};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_that_falls_silent_is_given_up() {
        let line = serde_json::to_string(&SnapshotLine::Live(Vec::<LiveOrder>::new())).unwrap() + "\n";
        let then_nothing = stream::once(async { Ok::<_, std::io::Error>(line) }).chain(stream::pending());
        let mut lines = SnapshotLines { body: Body::from_stream(then_nothing), buffer: Vec::new() };
        assert!(matches!(lines.next().await, Ok(Some(SnapshotLine::Live(_)))));
        let told = lines.next().await.err().map(|why| why.to_string());
        assert_eq!(told.as_deref(), Some("snapshot: nothing within 10000 ms"));
    }
}
