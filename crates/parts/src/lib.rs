//! The parts that settings choose: a URL's scheme picks the adapter, an unknown one is refused, and a
//! part that is away is waited for.
//!
//! Every process opens its parts through this crate, so that the all-in-one and the separate services
//! read the same settings in the same way.

mod engines;
mod neighbours;
mod sqlite;
mod waiting;

pub use engines::{
    Database, StockRole, answers, broker, connected, data_dir, database, mailbox_database, stock,
};
pub use messaging::Broker;
pub use neighbours::neighbour;
pub use sqlite::sqlite_pool;
pub use waiting::{Opening, Unopened, patiently};

/// Refuses an engine that lives inside one process where several must share it.
///
/// # Errors
/// When the setting names `embedded`.
pub fn shared(
    settings: &service_kit::Settings,
    name: &str,
    embedded: &str,
) -> Result<(), service_kit::SettingsError> {
    if settings.required(name)? == embedded {
        let why = format_args!("{embedded} lives in one process; it works only inside `seckill run`");
        return Err(service_kit::SettingsError::bad(name, why));
    }
    Ok(())
}
