//! The engines of `SECKILL_STOCK_URL`, `SECKILL_QUEUE_URL` and `SECKILL_DATABASE_URL`.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::Clock;
use messaging::embedded::{EmbeddedBroker, EmbeddedOptions};
use messaging::{DeadLetters, EventBus, OrderQueue, QueueError};
use service_kit::{Settings, SettingsError};
pub use stock::Role as StockRole;
use stock::StockStore;

use crate::Unopened;

/// A database, named but not opened: every service opens its own tables in it.
pub struct Database {
    /// `sqlite:PATH` (its folder exists), or `postgres://…`.
    pub url: String,
    remote: bool,
}

impl Database {
    /// What an error of opening it means: a server may come back, a file does not mend itself.
    #[must_use]
    pub fn unopened(&self, error: impl Display) -> Unopened {
        if self.remote { Unopened::Away(error.to_string()) } else { Unopened::Broken(error.to_string()) }
    }
}

/// The database of `SECKILL_DATABASE_URL`; the folder of a file is made.
///
/// # Errors
/// When the setting is missing, or no engine has its scheme.
pub fn database(settings: &Settings) -> Result<Database, SettingsError> {
    const NAME: &str = "SECKILL_DATABASE_URL";
    let url = settings.required(NAME)?;
    let remote = match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => true,
        Some(("sqlite", path)) => {
            if let Some(folder) = Path::new(path).parent() {
                make_folder(folder, NAME)?;
            }
            false
        }
        _ => {
            let why = format_args!(
                "no adapter has the scheme {:?} (expected sqlite:PATH or postgres://…)",
                scheme(url)
            );
            return Err(SettingsError::bad(NAME, why));
        }
    };
    Ok(Database { url: url.to_owned(), remote })
}

/// The database of notices: the same server, or a file of its own, since notices in a storm must not
/// hold up the writer of a file that is also the ledger.
///
/// # Errors
/// As [`database`], or when the data folder cannot be made.
pub fn mailbox_database(settings: &Settings) -> Result<Database, SettingsError> {
    let ledger = database(settings)?;
    if ledger.remote {
        return Ok(ledger);
    }
    let path = data_dir(settings)?.join("mailbox.db");
    Ok(Database { url: format!("sqlite:{}", path.display()), remote: false })
}

/// The folder of `SECKILL_DATA_DIR`, made.
///
/// # Errors
/// When the setting is missing or the folder cannot be made.
pub fn data_dir(settings: &Settings) -> Result<PathBuf, SettingsError> {
    const NAME: &str = "SECKILL_DATA_DIR";
    let folder = PathBuf::from(settings.required(NAME)?);
    make_folder(&folder, NAME)?;
    Ok(folder)
}

fn make_folder(folder: &Path, setting: &str) -> Result<(), SettingsError> {
    std::fs::create_dir_all(folder)
        .map_err(|e| SettingsError::bad(setting, format_args!("cannot make {}: {e}", folder.display())))
}

/// The stock store of `SECKILL_STOCK_URL`. One on servers connects in the background: wait for it by
/// [`answers`].
///
/// # Errors
/// A bad setting.
pub fn stock(
    settings: &Settings,
    role: StockRole,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn StockStore>, SettingsError> {
    const NAME: &str = "SECKILL_STOCK_URL";
    stock::open(settings.required(NAME)?, role, clock).map_err(|e| SettingsError::Engine(e.to_string()))
}

/// Whether the stock store answers, as a part to wait for.
///
/// # Errors
/// When it does not.
pub async fn answers(stock: &Arc<dyn StockStore>) -> Result<(), Unopened> {
    stock.ping().await.map_err(|e| Unopened::Away(e.to_string()))
}

/// An open broker, behind its ports.
#[derive(Clone)]
pub struct Broker(Arc<EmbeddedBroker>);

impl Broker {
    /// The lanes.
    #[must_use]
    pub fn queue(&self) -> Arc<dyn OrderQueue> {
        self.0.clone()
    }

    /// The events.
    #[must_use]
    pub fn bus(&self) -> Arc<dyn EventBus> {
        self.0.clone()
    }

    /// The dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        self.0.clone()
    }

    /// Lets what is under way end, and closes it.
    ///
    /// # Errors
    /// When it cannot be closed in order.
    pub async fn close(&self) -> Result<(), QueueError> {
        self.0.close().await
    }
}

/// The broker of `SECKILL_QUEUE_URL`.
///
/// # Errors
/// A bad setting, or a broker that is away.
pub async fn broker(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Broker, Unopened> {
    const NAME: &str = "SECKILL_QUEUE_URL";
    match settings.required(NAME)? {
        "embedded:" => {}
        other => {
            return Err(SettingsError::bad(
                NAME,
                format_args!("no adapter has the scheme of {:?}", scheme(other)),
            )
            .into());
        }
    }
    let lanes = settings.number("SECKILL_LANES", 1, 1024)?;
    let options =
        EmbeddedOptions { lanes: u16::try_from(lanes).unwrap_or(u16::MAX), ..EmbeddedOptions::default() };
    let path = data_dir(settings)?.join("queue.db");
    let opened = EmbeddedBroker::open(&path, options, clock).await;
    opened.map(Broker).map_err(|e| Unopened::Broken(e.to_string()))
}

/// Only the scheme goes into messages: the rest may hold a password.
fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}
