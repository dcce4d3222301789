//! The engines of `SECKILL_STOCK_URL`, `SECKILL_QUEUE_URL` and `SECKILL_DATABASE_URL`.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::Clock;
use messaging::topology::Limits;
use messaging::{Broker, OpenError, OpenOptions};
use service_kit::lifecycle::Failure;
use service_kit::{DatabaseUrl, Settings, SettingsError};
pub use stock::Role as StockRole;
use stock::StockStore;

use crate::Unopened;

/// Refuses an engine that lives inside one process where several must share it.
///
/// # Errors
/// When the setting names `embedded`.
pub fn refuse_embedded(settings: &Settings, name: &str, embedded: &str) -> Result<(), SettingsError> {
    if settings.required(name)? == embedded {
        let why = format_args!("{embedded} lives in one process; it works only inside `seckill run`");
        return Err(SettingsError::bad(name, why));
    }
    Ok(())
}

/// A database, named but not opened: every service opens its own tables in it.
pub struct Database {
    /// `sqlite:PATH` (its folder exists), or `postgres://…`.
    pub url: String,
    /// Connections to a server at most (`SECKILL_DATABASE_POOL`).
    pub pool: u32,
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
    let remote = match DatabaseUrl::of(url).map_err(|e| SettingsError::bad(NAME, e))? {
        DatabaseUrl::Postgres(_) => true,
        DatabaseUrl::Sqlite(path) => {
            if let Some(folder) = path.parent() {
                make_folder(folder, NAME)?;
            }
            false
        }
    };
    Ok(Database {
        url: url.to_owned(),
        pool: small(settings, "SECKILL_DATABASE_POOL", 1_000)?.into(),
        remote,
    })
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
    Ok(Database { url: format!("sqlite:{}", path.display()), ..ledger })
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

/// The broker of `SECKILL_QUEUE_URL`. One on servers connects in the background: wait for it by
/// [`connected`].
///
/// # Errors
/// A bad setting, or an embedded broker that does not open.
pub async fn broker(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Broker, Failure> {
    let options = OpenOptions {
        lanes: small(settings, "SECKILL_LANES", 1024)?,
        limits: Limits::default(),
        publish_wait: settings.publish_wait()?,
        data_dir: data_dir(settings)?,
        confirm_window: small(settings, "SECKILL_CONFIRM_WINDOW", u16::MAX)?.into(),
        prefetch: small(settings, "SECKILL_PREFETCH", u16::MAX)?,
    };
    match messaging::open(settings.required("SECKILL_QUEUE_URL")?, options, clock).await {
        Ok(broker) => Ok(broker),
        Err(OpenError::Broker(error)) => {
            Err(Failure::failed(format_args!("the order queue does not open: {error}")))
        }
        Err(mistake) => Err(SettingsError::Engine(mistake.to_string()).into()),
    }
}

/// Whether the broker can be worked with, as a part to wait for.
///
/// # Errors
/// When it cannot.
pub async fn connected(broker: &Broker) -> Result<(), Unopened> {
    broker.readiness().map_err(Unopened::Away)
}

fn small(settings: &Settings, name: &str, max: u16) -> Result<u16, SettingsError> {
    let n = settings.number(name, 1, max.into())?;
    u16::try_from(n).map_err(|e| SettingsError::bad(name, e))
}
