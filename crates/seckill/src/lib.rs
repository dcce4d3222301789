//! The whole platform in one process: gateway, inventory, order and notify on the parts that the settings name.
//!
//! The services are the very ones that also run alone. They speak to each other over loopback HTTP with
//! a token of this process, so nothing here is a shortcut that the separate services lack.

mod back_office;
pub mod demo;
pub mod events;
mod platform;
pub mod probe;
mod services;

pub use platform::{Running, start};
