//! The stock store: the fast, losable filter in front of the ledger.
//!
//! [`StockStore`] is the port. Every operation is atomic for its sale and idempotent by reservation
//! id, and every store answers *unknown* for a sale whose state it has lost. `contract_suite` is
//! what every adapter must pass.

#[cfg(any(test, feature = "contract-suite"))]
pub mod contract_suite;
mod memory;
mod open;
mod port;
mod redis;

pub use memory::MemoryStock;
pub use open::{OpenError, Role, open};
pub use port::{
    ClosedReason, Held, Peek, Rebuild, Released, ReserveOutcome, ReserveRequest, SaleView, Snapshot,
    StockConfig, StockError, StockStore,
};
pub use redis::{RedisOptions, RedisStock};
