//! Requests that are rare enough to be written conveniently.

use std::fmt::Write;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::connection::{Broken, Connection};
use super::target::Target;

/// Longest single wait that a `Retry-After` can ask for.
const RETRY_WAIT_S_MAX: u32 = 10;
/// Pause after a connection broke.
const BROKEN_PAUSE_MS: u64 = 50;

/// A request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Call<'a> {
    /// The method.
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) path: &'a str,
    /// The bearer token; none when empty.
    pub(crate) bearer: &'a str,
    /// The content type of the body.
    pub(crate) content_type: &'a str,
    /// The body.
    pub(crate) body: &'a str,
    /// One more header; none when its name is empty.
    pub(crate) header: (&'a str, &'a str),
}

impl<'a> Call<'a> {
    /// A `GET`.
    pub(crate) fn get(path: &'a str, bearer: &'a str) -> Self {
        Self { method: "GET", path, bearer, ..Self::default() }
    }

    /// A `POST` of JSON (of nothing when the body is empty).
    pub(crate) fn post(path: &'a str, bearer: &'a str, body: &'a str) -> Self {
        let content_type = if body.is_empty() { "" } else { "application/json" };
        Self { method: "POST", path, bearer, content_type, body, ..Self::default() }
    }

    fn bytes(&self, authority: &str) -> String {
        let mut text = format!("{} {} HTTP/1.1\r\nhost: {authority}\r\n", self.method, self.path);
        let mut header = |name: &str, prefix: &str, value: &str| {
            if !name.is_empty() && !value.is_empty() {
                let _ = write!(text, "{name}: {prefix}{value}\r\n");
            }
        };
        header("authorization", "Bearer ", self.bearer);
        header("content-type", "", self.content_type);
        header(self.header.0, "", self.header.1);
        if self.method != "GET" {
            header("content-length", "", &self.body.len().to_string());
        }
        text.push_str("\r\n");
        text.push_str(self.body);
        text
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// `Retry-After`, in seconds.
    pub(crate) retry_after_s: Option<u32>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The body as this type, when the status is a success.
    pub(crate) fn ok<T: DeserializeOwned>(&self) -> Option<T> {
        if (200..300).contains(&self.status) { serde_json::from_slice(&self.body).ok() } else { None }
    }

    /// Whether it is a problem with this code.
    pub(crate) fn is(&self, code: contract::Code) -> bool {
        self.status == code.status() && super::body::has_code(&self.body, code.as_str())
    }

    /// Status and the start of the body, for messages.
    pub(crate) fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        format!("{} {}", self.status, text.chars().take(200).collect::<String>())
    }
}

/// How long to wait before trying again after a 429 or a 503.
pub(crate) fn retry_wait(retry_after_s: Option<u32>) -> Duration {
    Duration::from_secs(retry_after_s.unwrap_or(1).clamp(1, RETRY_WAIT_S_MAX).into())
}

/// One connection with conveniences.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
}

impl Session {
    /// A session with this listener.
    pub(crate) fn new(target: Target) -> Self {
        Self { connection: Connection::new(target) }
    }

    /// Another session with the same listener, for answers that may take so long.
    pub(crate) fn patient(&self, wait: Duration) -> Self {
        Self { connection: Connection::waiting(self.connection.target().clone(), wait) }
    }

    /// Asks once.
    ///
    /// # Errors
    /// When no answer came.
    pub(crate) async fn ask(&mut self, call: &Call<'_>) -> Result<Reply, Broken> {
        let bytes = call.bytes(&self.connection.target().authority);
        let answer = self.connection.exchange(bytes.as_bytes()).await?;
        let body = self.connection.body().to_vec();
        Ok(Reply { status: answer.status, retry_after_s: answer.retry_after_s, body })
    }

    /// Asks until something other than "try again" comes, or the deadline passes: then the last answer.
    ///
    /// # Errors
    /// When no answer came by the deadline.
    pub(crate) async fn ask_until(&mut self, call: &Call<'_>, deadline: Instant) -> Result<Reply, Broken> {
        loop {
            let outcome = self.ask(call).await;
            let pause = match &outcome {
                Ok(reply) if matches!(reply.status, 429 | 503) => retry_wait(reply.retry_after_s),
                Ok(_) => return outcome,
                Err(_) => Duration::from_millis(BROKEN_PAUSE_MS),
            };
            if Instant::now() + pause >= deadline {
                return outcome;
            }
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_written_with_what_it_has() {
        assert_eq!(Call::get("/a", "").bytes("h:1"), "GET /a HTTP/1.1\r\nhost: h:1\r\n\r\n");
        let post = Call { header: ("x-y", "z"), ..Call::post("/a", "t", "{}") };
        let expected = "POST /a HTTP/1.1\r\nhost: h:1\r\nauthorization: Bearer t\r\n\
                        content-type: application/json\r\nx-y: z\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(post.bytes("h:1"), expected);
    }

    #[test]
    fn waits_are_at_least_a_second_and_bounded() {
        assert_eq!(retry_wait(None).as_secs(), 1);
        assert_eq!(retry_wait(Some(0)).as_secs(), 1);
        assert_eq!(retry_wait(Some(3)).as_secs(), 3);
        assert_eq!(retry_wait(Some(9999)).as_secs(), u64::from(RETRY_WAIT_S_MAX));
    }
}
