//! The gateway from outside: its real listeners, a real memory stock, and everything else in the
//! tests' own hands.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, missing_docs, reason = "nobody outside")]

mod admin;
mod edge;
mod entry;
mod flags;
mod forgery;
mod gateways;
mod limits;
mod openapi;
mod orders;
mod pages;
mod publish;
mod purchase;
mod refusals;
mod support;
mod tickets;
