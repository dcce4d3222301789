//! The embedded broker: queues in one SQLite file, with the semantics of the RabbitMQ topology.
//!
//! One task writes. It commits whatever waits as one group, with one sync, and confirms afterwards:
//! under load a sync carries hundreds of messages. The backlog is on disk; memory holds the next few
//! messages of each queue and the marks between delivered and not.

mod broker;
mod bus;
mod consumer;
mod dead;
mod dead_lettering;
mod group;
mod index;
mod lanes;
mod options;
mod ownership;
mod queue;
mod reader;
mod routes;
mod shared;
mod store;
mod writer;

pub use broker::EmbeddedBroker;
pub use options::EmbeddedOptions;
