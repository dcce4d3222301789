//! Tickets: the right to place one order, signed by the gateway and held by nobody.

mod codec;
mod keys;
mod seal;

pub use codec::{Claims, Presented, TicketError};
pub use keys::{KeysError, TicketKeys};
pub(crate) use seal::{Kind, seal, unseal};
