//! A small HTTP client for the services' calls to each other: pooled, bounded, JSON.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use contract::{Code, Problem};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::request_id::id_at_work;
use super::server::QUIET_MS;
use super::{ApiError, X_REQUEST_ID};
use crate::{Secret, SettingsError};

/// How long a whole call may take, unless it says otherwise.
const CALL_WAIT_MS_MAX: u64 = 5_000;
/// How long connecting may take.
const CONNECT_WAIT_MS_MAX: u64 = 1_000;
/// Largest answer read into memory, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Idle connections kept per host.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// How long one is kept, in milliseconds. Servers keep theirs for longer: what is written in the moment in which the
/// other side hangs up is lost.
const IDLE_MS_MAX: u64 = 2_500;
const _: () = assert!(2 * IDLE_MS_MAX <= QUIET_MS, "a connection is given up long before it is cut");

/// Why a call has no usable answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// No answer came within the bound.
    #[error("{0}")]
    Unreachable(String),
    /// The other service answered with a problem.
    #[error("{} {}: {}", .0.status, .0.code, .0.detail)]
    Problem(Box<Problem>),
    /// The answer is not what the contract says.
    #[error("an answer that cannot be understood: {0}")]
    Garbled(String),
}

impl ClientError {
    /// The contract's code of the problem, if the other side answered with one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Problem(problem) => Code::ALL.iter().copied().find(|c| c.as_str() == problem.code),
            _ => None,
        }
    }
}

impl From<ClientError> for ApiError {
    /// Passes a refusal on; what is broken behind this service is "unavailable" to its clients.
    fn from(error: ClientError) -> Self {
        match (&error, error.code()) {
            (ClientError::Problem(problem), Some(code)) if problem.status < 500 => {
                let mut passed = Self::new(code, problem.detail.clone());
                passed.available = problem.available;
                passed
            }
            _ => {
                tracing::warn!(%error, "a call to another service failed");
                Self::new(Code::Unavailable, "A part of the platform does not answer right now.")
            }
        }
    }
}

/// Checks another service's base URL.
///
/// # Errors
/// When it is not `http://host:port` without a path, naming the setting.
pub fn check_base_url(setting: &str, url: &str) -> Result<(), SettingsError> {
    let uri: Option<hyper::Uri> = url.trim_end_matches('/').parse().ok();
    let fine = uri.is_some_and(|u| u.scheme_str() == Some("http") && u.port().is_some() && u.path() == "/");
    if fine {
        Ok(())
    } else {
        Err(SettingsError::bad(setting, format_args!("{url:?} is not http://host:port")))
    }
}

/// Checks an address that others are sent to, or that something is sent to.
///
/// # Errors
/// When it is not `SCHEME://host…` with one of these schemes, naming the setting.
pub fn check_web_url(setting: &str, url: &str, schemes: &[&str]) -> Result<(), SettingsError> {
    let uri: Option<hyper::Uri> = url.parse().ok();
    let fine = uri.is_some_and(|u| {
        u.scheme_str().is_some_and(|scheme| schemes.contains(&scheme))
            && u.host().is_some_and(|h| !h.is_empty())
    });
    if fine {
        return Ok(());
    }
    let forms: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://host")).collect();
    Err(SettingsError::bad(setting, format_args!("{url:?} does not begin with {}", forms.join(" or "))))
}

/// An answer as it came.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A client of one other service.
#[derive(Clone)]
pub struct HttpClient {
    base: String,
    authorization: Option<HeaderValue>,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Where its connections are at work, whoever calls: on the runtime that made it.
    home: Option<Handle>,
}

impl HttpClient {
    /// A client of the service at `base` (`http://host:port`), showing `token` if there is one.
    #[must_use]
    pub fn new(base: &str, token: Option<&Secret>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_millis(CONNECT_WAIT_MS_MAX)));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_millis(IDLE_MS_MAX))
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        let authorization = token.and_then(|t| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", t.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let home = Handle::try_current().ok();
        Self { base: base.trim_end_matches('/').to_owned(), authorization, client, home }
    }

    /// `GET path`, as JSON.
    ///
    /// # Errors
    /// No answer, a problem, or another shape.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        json(self.send(Method::GET, path, HeaderMap::new(), Bytes::new()).await?)
    }

    /// `GET path`, as JSON, for what may take its time: up to `wait`.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub async fn get_within<T: DeserializeOwned>(
        &self,
        path: &str,
        wait: Duration,
    ) -> Result<T, ClientError> {
        json(self.send_within(wait, Method::GET, path, HeaderMap::new(), Bytes::new()).await?)
    }

    /// A request with a JSON body, answered by JSON.
    ///
    /// # Errors
    /// No answer, a problem, or another shape.
    pub async fn call<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| ClientError::Garbled(e.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        json(self.send(method, path, headers, body.into()).await?)
    }

    /// A request as it is, and its answer as it comes, whatever its status.
    ///
    /// # Errors
    /// Only when no answer came.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, ClientError> {
        self.send_within(Duration::from_millis(CALL_WAIT_MS_MAX), method, path, headers, body).await
    }

    async fn send_within(
        &self,
        wait: Duration,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, ClientError> {
        let unreachable = |why: &dyn std::fmt::Display| {
            ClientError::Unreachable(format!("{} does not answer: {why}", self.base))
        };
        let exchange = async {
            let response = self.stream(method, path, headers, body).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|e| unreachable(&e))?;
            Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        tokio::time::timeout(wait, exchange)
            .await
            .map_err(|_| unreachable(&format_args!("nothing within {} ms", wait.as_millis())))?
    }

    /// A request whose answer is read as it streams in; only connecting is bounded.
    ///
    /// # Errors
    /// When no answer began.
    pub async fn stream(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<hyper::Response<Body>, ClientError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(all) = request.headers_mut() {
            *all = headers;
            if let Some(authorization) = &self.authorization {
                all.insert(header::AUTHORIZATION, authorization.clone());
            }
            if let Some(id) = id_at_work() {
                all.entry(X_REQUEST_ID).or_insert(id);
            }
        }
        let request = request.body(Full::new(body)).map_err(|e| ClientError::Garbled(e.to_string()))?;
        match self.at_home(self.client.request(request)).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(e) => Err(ClientError::Unreachable(format!("{} does not answer: {e}", self.base))),
        }
    }

    /// A connection that is opened for one caller serves others later. Were it at work on the runtime of the first,
    /// all would be as quick as that one: a back row's callers give way, and so would everybody's calls.
    async fn at_home(
        &self,
        call: ResponseFuture,
    ) -> Result<hyper::Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
        let away = |home: &&Handle| Handle::try_current().is_ok_and(|here| here.id() != home.id());
        match self.home.as_ref().filter(away) {
            Some(home) => Ok(AbortOnDropHandle::new(home.spawn(call)).await??),
            None => Ok(call.await?),
        }
    }
}

fn json<T: DeserializeOwned>(reply: Reply) -> Result<T, ClientError> {
    if reply.status.is_success() {
        return serde_json::from_slice(&reply.body).map_err(|e| ClientError::Garbled(e.to_string()));
    }
    match serde_json::from_slice::<Problem>(&reply.body) {
        Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
        Err(_) => Err(ClientError::Garbled(format!("status {}", reply.status))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::super::at_work;
    use super::*;

    #[tokio::test]
    async fn what_may_take_its_time_is_granted_as_much_as_it_says() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = HttpClient::new(&format!("http://{}", listener.local_addr().unwrap()), None);
        // It takes connections, and answers none.
        let told = client.get_within::<()>("/", Duration::from_millis(30)).await.unwrap_err().to_string();
        assert!(told.contains("nothing within 30 ms"), "{told}");
    }

    #[tokio::test]
    async fn a_call_carries_the_id_of_the_request_it_is_made_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = HttpClient::new(&format!("http://{}", listener.local_addr().unwrap()), None);
        let server = std::thread::spawn(move || {
            [(); 2].map(|()| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 1024];
                let length = stream.read(&mut asked).unwrap();
                let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nnull";
                stream.write_all(answer).unwrap();
                String::from_utf8_lossy(&asked[..length]).into_owned()
            })
        });
        at_work(&HeaderValue::from_static("mine"), client.get::<()>("/")).await.unwrap();
        client.get::<()>("/").await.unwrap();
        let [within, without] = server.join().unwrap();
        assert!(within.contains("x-request-id: mine\r\n"), "{within}");
        assert!(!without.contains("x-request-id"), "{without}");
    }

    #[test]
    fn a_connection_outlives_the_runtime_of_whoever_needed_it_first() {
        let runtime =
            || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (home, away) = (runtime(), runtime());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull").unwrap();
            stream
        });
        let client = home.block_on(async { HttpClient::new(&base, None) });
        away.block_on(async { client.get::<()>("/").await.unwrap() });
        drop(away);
        let mut stream = server.join().unwrap();
        stream.set_nonblocking(true).unwrap();
        let heard = stream.read(&mut [0; 1]).map_err(|e| e.kind());
        assert_eq!(heard, Err(std::io::ErrorKind::WouldBlock), "the connection is still there");
    }

    #[test]
    fn a_base_url_names_a_host_and_a_port_and_no_path() {
        for good in ["http://127.0.0.1:80", "http://order:9000/"] {
            assert_eq!(check_base_url("X", good), Ok(()), "{good}");
        }
        for bad in ["order:9000", "https://order:9000", "http://order", "http://order:9000/path", ""] {
            let refused = check_base_url("SECKILL_ORDER_URL", bad).unwrap_err();
            assert!(refused.to_string().starts_with("SECKILL_ORDER_URL: "), "{bad}");
        }
    }
}
