//! The public listener's front door: the purchase path and the gates go straight to their work,
//! everything else through the router.
//!
//! No middleware stands here. Each layer costs every request a microsecond or two, and at the opening
//! a refusal costs little more than that.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, header};
use axum::response::{IntoResponse, Response};
use contract::Code;
use contract::api::{BUY_PREFIX, WEBHOOK_PATH};
use service_kit::http::{Handler, Incoming, X_REQUEST_ID, at_work, is_request_id};
use tower::ServiceExt;

use crate::cors::Cors;
use crate::gateway::Gateway;
use crate::purchase::{self, Caller, Refusal, body};
use crate::routes::{self, Named};

/// What answers on the public listener.
#[derive(Clone)]
pub(crate) struct FrontDoor(Arc<Behind>);

/// What is behind the door.
struct Behind {
    gateway: Arc<Gateway>,
    router: Router,
    cors: Cors,
}

impl FrontDoor {
    /// The door of this gateway.
    #[must_use]
    pub(crate) fn new(gateway: Arc<Gateway>, demo: bool, cors: Cors) -> Self {
        let router = routes::public(&gateway, demo);
        Self(Arc::new(Behind { gateway, router, cors }))
    }
}

impl Handler for FrontDoor {
    fn handle(
        self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response> + Send + 'static {
        let (parts, body) = request.into_parts();
        async move { self.0.answer(peer, parts, body).await }
    }
}

impl Behind {
    async fn answer(&self, peer: SocketAddr, parts: Parts, body: Incoming) -> Response {
        let id = self.request_id(&parts);
        let visitor = self.cors.visitor(&parts);
        let mut response = if let Some(visitor) = visitor.as_ref().filter(|visitor| visitor.is_preflight) {
            visitor.welcome()
        } else if parts.uri.path().starts_with(BUY_PREFIX) {
            purchase::handle(&self.gateway, peer, &id, &parts, body).await
        } else {
            self.browse(peer, parts, body, &id).await
        };
        self.cors.mark(visitor, &mut response);
        response.headers_mut().insert(X_REQUEST_ID, id);
        response
    }

    /// Everything but buying: who asks is counted, bodies are read before anything waits for them.
    async fn browse(&self, peer: SocketAddr, parts: Parts, body: Incoming, id: &HeaderValue) -> Response {
        let caller = Caller::new(&parts.headers, peer, id);
        let is_free = is_free_to_ask(parts.uri.path());
        let asks =
            if is_free { Err(Refusal::new(Code::Unauthenticated)) } else { self.gateway.identify(&caller) };
        let named = match asks {
            Ok(buyer) => Some(Named(buyer)),
            Err(refusal) if refusal.code == Code::RateLimited => return self.busy(&parts, &caller, refusal),
            // The route knows whether it matters who asks.
            Err(_) => None,
        };
        if let Some(sale) = gate_of(&parts) {
            return routes::gate(&self.gateway, sale).await;
        }
        if let Some(Named(buyer)) = &named
            && let Err(refusal) = self.gateway.check_browse_limit(&caller, buyer)
        {
            return self.busy(&parts, &caller, refusal);
        }
        // Boxed: what is asked for all the time need not have room for what is asked for now and then.
        Box::pin(self.route(Request::from_parts(parts, Body::new(body)), named, id)).await
    }

    /// Refuses somebody who asks too often: people with a page.
    fn busy(&self, parts: &Parts, caller: &Caller<'_>, refusal: Refusal) -> Response {
        let is_for_people = parts.method == Method::GET && !parts.uri.path().starts_with("/api/");
        let busy = || self.gateway.pages.busy(&parts.headers, refusal.retry_after_s);
        let page = is_for_people.then(busy).flatten();
        self.gateway.measures.browse_refused.increment(1);
        let mut response = page.unwrap_or_else(|| refusal.into_response());
        caller.tell(&mut response);
        response
    }

    async fn route(&self, mut request: Request<Body>, named: Option<Named>, id: &HeaderValue) -> Response {
        let _share = match named.as_ref().map(|Named(buyer)| self.gateway.shares.take(buyer)).transpose() {
            Ok(share) => share,
            Err(error) => return error.into_response(),
        };
        if let Some(named) = named {
            request.extensions_mut().insert(named);
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
        at_work(id, self.router.clone().oneshot(request)).await.unwrap_or_else(|never| match never {})
    }

    fn request_id(&self, parts: &Parts) -> HeaderValue {
        match parts.headers.get(&X_REQUEST_ID) {
            Some(given) if is_request_id(given) => given.clone(),
            _ => self.gateway.request_ids.next(),
        }
    }
}

/// What counts against nobody's limit. A page asks for two dozen files, which cost next to nothing, and a whole office may
/// come from one address. A payment provider comes from a few, with the money of thousands; its signature is checked,
/// and its calls are bounded by themselves.
fn is_free_to_ask(path: &str) -> bool {
    path.starts_with("/assets/") || path == WEBHOOK_PATH
}

/// The sale whose gate a plain GET asks for.
fn gate_of(parts: &Parts) -> Option<&str> {
    let sale = parts.uri.path().strip_prefix("/api/v1/sales/")?.strip_suffix("/gate")?;
    (parts.method == Method::GET && !sale.contains(['/', '%'])).then_some(sale)
}
