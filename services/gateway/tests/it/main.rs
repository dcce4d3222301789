//! The gateway from outside: its real listeners, a real memory stock, and everything else in the
//! tests' own hands.

mod admin;
mod flags;
mod limits;
mod orders;
mod pages;
mod publish;
mod purchase;
mod refusals;
mod support;
mod tickets;
