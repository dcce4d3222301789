//! A platform of a few hundred lines in memory: honest, or lying in one chosen way.
//!
//! It speaks the contract as far as the load test asks, so that the load test's own verdicts can be
//! tested: each must hold against the honest one and break against the lies.

#![allow(clippy::unwrap_used, reason = "a fake that panics fails its test, which is all it is for")]

mod market;
mod routes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use market::Market;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Signs webhooks.
pub(crate) const WEBHOOK_SECRET: &str = "whisper";

/// What the platform gets wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// Nothing, but it is busy: some orders are answered 503 though they were kept, some requests
    /// are answered by closing the connection, some by 429.
    Busy,
    /// Every accepted order whose id ends in 0 is forgotten.
    LosesOrders,
    /// It accepts one order more than there are units.
    Oversells,
    /// It says "sold out" with one unit left.
    StrandsUnit,
    /// A ticket used twice makes two orders.
    TwoOrdersPerTicket,
    /// It allows a unit more than the limit.
    IgnoresLimit,
    /// Late captures are refunded twice.
    RefundsTwice,
    /// A payment of a cancelled order is kept.
    KeepsMoney,
    /// Nine of ten ticket requests are answered 401, whatever their token.
    TurnsAway,
    /// Nobody holds anything, and every second order is answered "limit reached".
    InventsLimits,
    /// The pay page succeeds, and the order never hears of it.
    LosesPayments,
}

/// A running fake; stops when dropped.
#[derive(Debug)]
pub(crate) struct Fake {
    address: SocketAddr,
    market: Arc<Mutex<Market>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Starts a fake on a free port.
    pub(crate) fn start(lie: Lie) -> Self {
        let market = Arc::new(Mutex::new(Market::new(lie)));
        let (stop, stopped) = oneshot::channel();
        let (bound, address) = std::sync::mpsc::channel();
        let shared = Arc::clone(&market);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = address.recv().unwrap();
        Self { address, market, stop: Some(stop), thread: Some(thread) }
    }

    /// `http://host:port` of both listeners.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forgets an accepted order, as a platform might that was killed.
    pub(crate) fn forget_an_order(&self) {
        lock(&self.market).forget_an_order();
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the fake has failed its requests already.
            let _ = thread.join();
        }
    }
}

fn lock(market: &Mutex<Market>) -> std::sync::MutexGuard<'_, Market> {
    market.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, market: Arc<Mutex<Market>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let market = Arc::clone(&market);
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&market)));
            // A connection that the fake closes on purpose ends in an error here.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// The error is how a connection is closed without an answer.
async fn answer(
    request: Request<Incoming>,
    market: Arc<Mutex<Market>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let reply = routes::reply(&mut lock(&market), &parts, &body);
    let Some((status, value)) = reply else { return Err(std::io::Error::other("hung up")) };
    let mut response = Response::builder().status(status);
    if matches!(status, 429 | 503) {
        response = response.header("retry-after", "1");
    }
    let body = Full::new(Bytes::from(value.to_string()));
    response.body(body).map_err(std::io::Error::other)
}
