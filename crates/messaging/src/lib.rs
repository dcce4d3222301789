//! The order queue and the event bus.
//!
//! [`OrderQueue`], [`EventBus`] and [`DeadLetters`] are the ports; [`open`](open()) opens them on the
//! broker that a URL names; [`topology`] is what both brokers declare; `contract_suite` is what every
//! adapter must pass.

#[cfg(any(test, feature = "contract-suite"))]
pub mod contract_suite;
pub mod embedded;
mod open;
mod port;
pub mod rabbitmq;
pub mod topology;

pub use open::{Broker, OpenError, OpenOptions, open, open_log};
pub use port::{
    Broadcasts, Consumer, DeadLetters, Delivery, EventBus, EventTap, OrderQueue, PublishError, QueueError,
    Subscription,
};
