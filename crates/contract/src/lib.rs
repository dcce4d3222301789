//! Everything that crosses a wire: HTTP bodies, lane messages, events, problem documents.
//!
//! Wire types live here, and nowhere else. They turn into domain types at the door: a value that
//! deserialises is already of the right shape.

pub mod api;
pub mod events;
pub mod internal;
pub mod lane;
mod object;
mod problem;
pub mod rules;
pub mod text;

pub use problem::{Code, Problem};
