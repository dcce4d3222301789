//! The order service: the ledger.
pub mod order_store;
