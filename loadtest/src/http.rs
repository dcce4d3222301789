//! A small HTTP/1.1 client: keep-alive, one request at a time, no more than the contract needs.
//!
//! The generator shares its cores with the platform it measures, so what a request costs here is
//! what the platform cannot have.

pub(crate) mod body;
mod connection;
mod session;
mod target;
pub(crate) mod wire;

pub(crate) use connection::{Broken, Connection};
pub(crate) use session::{Call, Reply, Session, retry_wait};
pub(crate) use target::Target;
