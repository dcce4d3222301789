//! The words and rules of a flash sale.
//!
//! Pure: no I/O, no clock of its own, no wire formats. Everything here can be read and tested
//! without knowing which engine keeps the stock or which broker carries the orders.

mod allocation;
mod ids;
pub mod money;
mod order;
mod sale;
mod time;

pub use allocation::{Allocation, Claim, Decision, Rejection, decide};
pub use ids::{BuyerId, Epoch, IdError, OrderId, ReservationId, SaleId};
pub use money::{Currency, Money, MoneyError};
pub use order::{OrderStatus, UnknownStatus};
pub use sale::{Phase, SaleState, SaleTerms, StateInputs, TermsError, UnknownPhase};
pub use time::{Clock, UnixMillis};
