//! RabbitMQ: the same lanes, subscriptions and dead letters on a broker shared by all services.
//!
//! Two connections, each kept up by a task of its own (`link`): one publishes, one consumes and asks.
//! One task owns the publishing channel and awaits confirms side by side (`publisher`); each consumer
//! owns a channel. Nothing is kept for later in this process: what cannot be published now is refused
//! now, and what is not confirmed within the bound is not known.
//!
//! `docs/messaging-on-rabbitmq.md` says what happens on which failure.

mod address;
mod broker;
mod bus;
mod consumer;
mod dead;
mod definitions;
mod dial;
mod doubts;
mod fate;
mod inbox;
mod inquiry;
mod lanes;
mod letters;
mod link;
mod listener;
mod log;
mod options;
mod plan;
mod publisher;
mod stats;
mod target;

pub use address::{AddressError, Addresses};
pub use broker::RabbitBroker;
pub use definitions::definitions;
pub use log::{EventLog, LogStart, LogStartError, LoggedEvent};
pub use options::{
    CONFIRM_WINDOW_DEFAULT, HEARTBEAT_S, LANES_DEFAULT, PREFETCH_DEFAULT, PUBLISH_WAIT_MS_MAX, RabbitOptions,
};

use crate::QueueError;

/// A client error as the ports tell it.
fn unreachable(error: &lapin::Error) -> QueueError {
    QueueError::Unreachable(error.to_string())
}
