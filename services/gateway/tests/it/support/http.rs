//! Requests as clients send them.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use contract::Problem;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use service_kit::http::HttpClient;

use super::PATIENCE;

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("no JSON ({e}): {} {:?}", self.status, self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts that this is a proper problem document of this code, with what its status demands.
    #[track_caller]
    pub fn refused(&self, code: &str) -> Problem {
        let problem: Problem = serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("no problem ({e}): {} {:?}", self.status, self.body));
        assert_eq!(problem.code, code, "{problem:?}");
        assert_eq!(self.status.as_u16(), problem.status);
        assert_eq!(problem.kind, format!("urn:seckill:problem:{code}"));
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert!(self.header("x-request-id").is_some());
        match problem.status {
            429 | 503 => {
                let seconds: u64 = self.header("retry-after").expect("Retry-After").parse().unwrap();
                assert!(seconds >= 1);
            }
            401 => assert_eq!(self.header("www-authenticate"), Some("Bearer")),
            405 => assert!(self.header("allow").is_some()),
            _ => {}
        }
        problem
    }

    /// Asserts a status that is no refusal.
    #[track_caller]
    pub fn ok(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        assert!(self.header("x-request-id").is_some());
        self
    }
}

/// A client of one listener.
#[derive(Clone)]
pub struct Client(HttpClient);

impl Client {
    pub fn new(base: &str) -> Self {
        Self(HttpClient::new(base, None))
    }

    pub async fn send(&self, method: Method, path: &str, headers: HeaderMap, body: &[u8]) -> Answer {
        let body = Bytes::copy_from_slice(body);
        let exchange = async {
            let (told, body) =
                self.0.stream(method, path, headers, body).await.expect("an answer").into_parts();
            let body = body.collect().await.expect("all of it").to_bytes();
            Answer { status: told.status, headers: told.headers, body }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }

    /// A stream of events, as it comes in.
    pub async fn stream(&self, path: &str, token: &str) -> Stream {
        self.answers(path, token).await.expect("a stream")
    }

    /// The same, if there is one to be had.
    pub async fn answers(&self, path: &str, token: &str) -> Option<Stream> {
        let response = self.0.stream(Method::GET, path, authorized(Some(token)), Bytes::new()).await;
        let response = response.expect("an answer");
        if response.status() != StatusCode::OK {
            return None;
        }
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Some(Stream { body: response.into_body(), read: String::new() })
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.send(Method::GET, path, authorized(token), &[]).await
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let mut headers = authorized(token);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.send(Method::POST, path, headers, body.to_string().as_bytes()).await
    }
}

/// Posts the same again and again, all at once: many requests a connection, for there may not be a file for each.
pub fn post_at_once(url: &str, token: &str, body: &Value, times: usize) -> tokio::task::JoinSet<StatusCode> {
    const PER_CONNECTION: usize = 60;
    let mut posting = tokio::task::JoinSet::new();
    for _ in 0..times.div_ceil(PER_CONNECTION) {
        let client = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        for _ in 0..PER_CONNECTION.min(times - posting.len()) {
            let mut request =
                axum::http::Request::post(url).body(Full::new(Bytes::from(body.to_string()))).unwrap();
            *request.headers_mut() = authorized(Some(token));
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let answer = client.request(request);
            posting.spawn(async move {
                let answer = answer.await.expect("an answer");
                let status = answer.status();
                answer.into_body().collect().await.expect("all of it");
                status
            });
        }
    }
    posting
}

pub fn authorized(token: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    }
    headers
}

/// A stream of events.
pub struct Stream {
    body: axum::body::Body,
    /// All that came so far.
    pub read: String,
}

impl Stream {
    /// Reads until this text has come; false if the stream ended before.
    pub async fn reads(&mut self, text: &str) -> bool {
        let reading = async {
            while !self.read.contains(text) {
                let Some(frame) = self.body.frame().await else { return false };
                let data = frame.expect("a whole stream").into_data().unwrap_or_default();
                self.read.push_str(&String::from_utf8_lossy(&data));
            }
            true
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("in time")
    }
}
