//! Tickets: the right to place one order, signed by the gateway and held by nobody.

mod codec;
mod keys;

pub use codec::{Claims, Presented, TicketError};
pub use keys::{KeysError, TicketKeys};
