//! Everything that crosses a wire: HTTP bodies, lane messages, events, problem documents.
//!
//! The only crate below the services that knows serde. Wire types turn into domain types at the
//! door: a value that deserialises is already of the right shape.

pub mod api;
pub mod events;
pub mod internal;
pub mod lane;
mod problem;
pub mod rules;
pub mod text;

pub use problem::{Code, Problem};
