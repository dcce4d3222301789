//! The HTTP server: hyper with timeouts that fire, a cap on connections, and a bounded drain.

#[cfg(target_os = "linux")]
mod batch;
mod places;
mod rows;
mod speech;
mod watch;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::files;
use crate::lifecycle::{self, Failure};

use places::Places;
use rows::{Guest, Rows};
use watch::{Activity, Watched};

/// Header bytes of a request at most.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Open connections of a listener at most, unless it says otherwise.
const CONNECTIONS_MAX: usize = 4_096;
/// Between two pings of an HTTP/2 connection, in seconds.
const PING_EVERY_S: u64 = 20;
/// Concurrent streams of an HTTP/2 connection at most.
const STREAMS_MAX: u32 = 64;
/// Bytes of a body that an HTTP/2 client may send ahead of its being read: twice the longest there is. hyper's own
/// default is a mebibyte, which a connection could make the server keep.
const STREAM_WINDOW_BYTES: u32 = 32 * 1024;
/// The same of all bodies of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 128 * 1024;
/// HTTP/2 streams a peer may reset before they were answered, before the connection is cut.
const RESET_STREAMS_MAX: usize = 32;
/// How long a client may do nothing unless its listener says otherwise, in milliseconds.
pub(super) const QUIET_MS: u64 = 5_000;
/// How long a client may leave unacknowledged what was sent to it, in milliseconds. One that vanished (a closed lid, a
/// changed network) breaks no connection: without this, the kernel tries for a quarter of an hour.
#[cfg(target_os = "linux")]
const UNHEARD_MS_MAX: u32 = 30_000;
/// Waiting time after `accept` failed (usually: too many open files).
const ACCEPT_RETRY_MS: u64 = 50;

/// What one listener grants its clients.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Open connections at most.
    pub connections_max: usize,
    /// Open connections of one client address at most; more are closed at once.
    pub connections_per_address_max: usize,
    /// How long a request's header may take, and a connection on which nothing is at work or moves.
    pub header_timeout: Duration,
    /// How long a stopping server waits for requests under way: usually as long as `SECKILL_SHUTDOWN_S` allows.
    pub drain: Duration,
    /// Whether connections that are refused again and again are served on threads that give way to all others.
    pub back_row: bool,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_MAX,
            header_timeout: Duration::from_millis(QUIET_MS),
            drain: lifecycle::drain(),
            back_row: false,
        }
    }
}

/// Binds a listener; a taken port is one clear line.
///
/// # Errors
/// When the address cannot be bound, naming the setting.
pub async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            Failure::Failed(format!("{address} is taken by another process (set {setting} to another)"))
        }
        _ => Failure::Failed(format!("cannot listen on {address} ({setting}): {e}")),
    })
}

/// What answers a listener's requests. It gets them as they come off the connection: whoever refuses most of
/// them quickly need not pay for what only the others use.
pub trait Handler: Clone + Send + 'static {
    /// Answers a request of the client at `peer`.
    fn handle(
        self,
        peer: SocketAddr,
        request: hyper::Request<Incoming>,
    ) -> impl Future<Output = Response> + Send + 'static;
}

impl Handler for Router {
    fn handle(
        self,
        peer: SocketAddr,
        request: hyper::Request<Incoming>,
    ) -> impl Future<Output = Response> + Send + 'static {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answering = self.oneshot(request);
        async move { answering.await.unwrap_or_else(|never| match never {}) }
    }
}

/// Serves until `shutdown`; then lets requests under way finish within `limits.drain`.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: H,
    limits: ServerLimits,
    shutdown: CancellationToken,
) {
    if let Some(files) = files::allowed().filter(|files| *files < limits.connections_max as u64) {
        let connections = limits.connections_max;
        tracing::warn!(files, connections, "the limit of open files leaves no room for so many connections");
    }
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let (graceful, places) = (GracefulShutdown::new(), Places::default());
    let rows = Rows::open(limits.back_row);
    let builder = Arc::new(builder(limits));
    loop {
        if slots.available_permits() == 0 {
            metrics::counter!("http_connections_full_total").increment(1);
        }
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            () = shutdown.cancelled() => break,
        };
        // It is never closed.
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                continue;
            }
        };
        let Some(place) = places.take(peer.ip(), limits.connections_per_address_max) else {
            metrics::counter!("http_connections_refused_total").increment(1);
            continue;
        };
        let activity = Arc::<Activity>::default();
        let connection = connection(&builder, stream, peer, handler.clone(), &activity);
        rows.seat(Guest {
            connection: Box::pin(graceful.watch(connection)),
            activity,
            patience: limits.header_timeout,
            _held: (slot, place),
        });
    }
    drop(listener);
    if tokio::time::timeout(lifecycle::drain_left(limits.drain), graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections did not finish in time and were cut");
    }
    rows.close();
}

fn builder(limits: ServerLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // No timer for the header: a connection on which no request is at work is cut all the same, by one
    // look every now and then instead of a timer for each request.
    // Of header fields hyper takes 100 at most: as its own limit that costs nothing, as ours an allocation.
    builder.http1().header_read_timeout(None).max_buf_size(HEADER_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(Duration::from_secs(PING_EVERY_S))
        .keep_alive_timeout(limits.header_timeout);
    builder
}

fn connection<H: Handler>(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    handler: H,
    activity: &Arc<Activity>,
) -> auto::Connection<
    'static,
    TokioIo<Watched>,
    impl hyper::service::Service<
        hyper::Request<Incoming>,
        Response = Response,
        Error = Infallible,
        Future: Send + 'static,
    > + 'static,
    TokioExecutor,
> {
    // Answers are single small writes: waiting to merge them only costs latency.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNHEARD_MS_MAX);
    let io = TokioIo::new(Watched::new(stream, activity.clone()));
    let activity = activity.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (activity, answering) = (activity.clone(), handler.clone().handle(peer, request));
        async move {
            // Begins when hyper lets it: a pipelined request waits for the answers before it to be read.
            let work = activity.begin();
            Ok(work.answer(answering.await))
        }
    });
    builder.serve_connection(io, service).into_owned()
}
