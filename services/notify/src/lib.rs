//! Delivery of notices: an event of an order becomes notices by channel and priority, and each channel
//! delivers its own. What a notice says is decided in `compose`; where it goes, in `mailbox`.

mod compose;
mod config;
pub mod mailbox;
pub mod process;
mod routes;
mod work;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use contract::events::Channel;
use messaging::EventBus;
use service_kit::health::{self, Health};
use service_kit::http::{RequestIds, ServerLimits, require_bearer, serve as serve_http, with_request_id};
use service_kit::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
use mailbox::Mailbox;

/// What notify works with.
pub struct Dependencies {
    /// The event bus.
    pub bus: Arc<dyn EventBus>,
    /// Where notices go.
    pub mailbox: Arc<dyn Mailbox>,
}

/// Where notify listens.
pub struct Listeners {
    /// For the other services.
    pub internal: TcpListener,
    /// For operators: metrics and health; the all-in-one serves those itself.
    pub operators: Option<(TcpListener, Metrics)>,
}

/// Runs the service until `shutdown`, then finishes what is under way.
pub async fn serve(config: Config, deps: Dependencies, listeners: Listeners, shutdown: CancellationToken) {
    let router = routes::router(deps.mailbox.clone())
        .layer(from_fn_with_state(config.internal_token, require_bearer))
        .layer(from_fn_with_state(RequestIds::default(), with_request_id));
    let health = Health::default();
    let operators = async {
        if let Some((listener, metrics)) = listeners.operators {
            let router = health::listener(&health, &metrics);
            serve_http(listener, router, ServerLimits::default(), shutdown.clone()).await;
        }
    };
    let channel =
        |channel| work::deliver(channel, deps.bus.clone(), deps.mailbox.clone(), &health, shutdown.clone());
    tokio::join!(
        serve_http(listeners.internal, router, ServerLimits::default(), shutdown.clone()),
        operators,
        work::write_notices(deps.bus.clone(), &health, shutdown.clone()),
        channel(Channel::Email),
        channel(Channel::Sms),
        channel(Channel::Shipping),
    );
}
