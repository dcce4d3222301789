//! The whole service on real embedded parts: lanes in, events out, HTTP at its side.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod app;
mod lanes;
mod money;
mod outbox;
mod readiness;
mod refusals;
mod timeouts;
