//! The order queue and the event bus.
//!
//! [`OrderQueue`], [`EventBus`] and [`DeadLetters`] are the ports; [`topology`] is what both brokers
//! declare; `contract_suite` is what every adapter must pass.

#[cfg(any(test, feature = "contract-suite"))]
pub mod contract_suite;
pub mod embedded;
mod port;
pub mod topology;

pub use port::{
    Broadcasts, Consumer, DeadLetters, Delivery, EventBus, EventTap, OrderQueue, PublishError, QueueError,
    Subscription,
};
