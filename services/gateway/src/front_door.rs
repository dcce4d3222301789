//! The public listener's front door: the purchase path and the gates go straight to their work,
//! everything else through the router.
//!
//! No middleware stands here. Each layer costs every request a microsecond or two, and at the opening
//! a refusal costs little more than that.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use contract::Code;
use service_kit::http::X_REQUEST_ID;
use tower::{Service, ServiceExt};

use crate::cors::Cors;
use crate::gateway::Gateway;
use crate::purchase::{self, Caller, body};
use crate::routes::{self, Named};
use crate::sale::BUY_PREFIX;

/// Longest request id that is kept, in bytes.
const REQUEST_ID_LEN_MAX: usize = 64;

/// The service of the public listener.
#[derive(Clone)]
pub(crate) struct FrontDoor {
    gateway: Arc<Gateway>,
    router: Router,
    cors: Arc<Cors>,
}

impl FrontDoor {
    /// The door of this gateway.
    #[must_use]
    pub(crate) fn new(gateway: Arc<Gateway>, demo: bool, cors: Cors) -> Self {
        let router = routes::public(&gateway, demo);
        Self { gateway, router, cors: Arc::new(cors) }
    }

    async fn answer(self, request: Request) -> Response {
        let id = self.request_id(&request);
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
        let peer = peer.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let visitor = self.cors.visitor(&request);
        let mut response = if let Some(visitor) = visitor.as_ref().filter(|visitor| visitor.is_preflight) {
            visitor.welcome()
        } else if request.uri().path().starts_with(BUY_PREFIX) {
            purchase::handle(&self.gateway, request, peer).await
        } else {
            self.browse(request, peer, &id).await
        };
        if let Some(visitor) = visitor {
            visitor.admit(&mut response);
        }
        response.headers_mut().insert(X_REQUEST_ID, id);
        response
    }

    /// Everything but buying: strangers are counted, bodies are read before anything waits for them.
    async fn browse(self, mut request: Request, peer: SocketAddr, id: &HeaderValue) -> Response {
        let caller = Caller::new(request.headers(), peer);
        match self.gateway.identify(&caller) {
            Ok(buyer) => {
                request.extensions_mut().insert(Named(buyer));
            }
            Err(refusal) if refusal.code == Code::RateLimited => {
                let page = self.gateway.pages.busy(request.headers());
                let mut response = page.unwrap_or_else(|| refusal.into_response());
                caller.tell(&mut response);
                return response;
            }
            // The route knows whether it matters who asks.
            Err(_) => {}
        }
        if let Some(sale) = gate_of(&request) {
            return routes::gate(&self.gateway, sale).await;
        }
        request.headers_mut().insert(X_REQUEST_ID, id.clone());
        if request.method() != Method::GET {
            request = match body::buffered(request, self.gateway.limits.body_timeout).await {
                Ok(request) => request,
                Err(error) => {
                    let mut response = error.into_response();
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    return response;
                }
            };
        }
        self.router.oneshot(request).await.unwrap_or_else(|never| match never {})
    }

    fn request_id(&self, request: &Request) -> HeaderValue {
        match request.headers().get(&X_REQUEST_ID) {
            Some(given) if given.len() <= REQUEST_ID_LEN_MAX => given.clone(),
            _ => self.gateway.request_ids.next(),
        }
    }
}

/// The sale whose gate a plain GET asks for.
fn gate_of(request: &Request) -> Option<&str> {
    let sale = request.uri().path().strip_prefix("/api/v1/sales/")?.strip_suffix("/gate")?;
    (request.method() == Method::GET && !sale.contains(['/', '%'])).then_some(sale)
}

impl Service<Request<Body>> for FrontDoor {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let door = self.clone();
        Box::pin(async move { Ok(door.answer(request).await) })
    }
}
