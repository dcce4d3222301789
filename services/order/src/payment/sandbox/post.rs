//! The sandbox's postman: one signed webhook, heard or not.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use contract::api::WEBHOOK_SIGNATURE_HEADER;
use domain::Clock;
use service_kit::Secret;
use service_kit::http::HttpClient;

use crate::payment::ProviderError;
use crate::webhook::sign;

pub(super) struct Post {
    client: HttpClient,
    path: String,
    secret: Secret,
    clock: Arc<dyn Clock>,
}

impl Post {
    pub(super) fn new(url: &str, secret: Secret, clock: Arc<dyn Clock>) -> Self {
        let after_scheme = url.find("://").map_or(0, |at| at + 3);
        let path_at = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
        let (base, path) = url.split_at(path_at);
        Self { client: HttpClient::new(base, None), path: path.to_owned(), secret, clock }
    }

    /// Sends the event; an error means it was not heard and has to be sent again.
    pub(super) async fn send(&self, body: &str) -> Result<(), ProviderError> {
        let signature = sign(&self.secret, self.clock.now(), body.as_bytes());
        let signature = HeaderValue::from_str(&signature).map_err(|e| ProviderError(e.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(WEBHOOK_SIGNATURE_HEADER, signature);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let sent = self.client.send(Method::POST, &self.path, headers, body.to_owned().into()).await;
        match sent {
            Ok(reply) if reply.status.is_success() => Ok(()),
            Ok(reply) => Err(ProviderError(format!("the webhook was answered {}", reply.status))),
            Err(error) => Err(ProviderError(error.to_string())),
        }
    }
}
