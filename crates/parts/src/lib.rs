//! The parts that settings choose: a URL's scheme picks the adapter, an unknown one is refused, and a
//! part that is away is waited for.
//!
//! Every process opens its parts through this crate, so that the all-in-one and the separate services
//! read the same settings in the same way.

mod engines;
mod service_clients;
mod sqlite;
mod waiting;

pub use engines::{
    Database, StockRole, answers, broker, connected, data_dir, database, mailbox_database, refuse_embedded,
    stock,
};
pub use messaging::Broker;
pub use service_clients::service_client;
pub use sqlite::sqlite_pool;
pub use waiting::{Opening, Unopened, patiently};
