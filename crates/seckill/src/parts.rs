//! The parts that settings choose: a URL's scheme picks the adapter, an unknown one is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::Clock;
use messaging::embedded::{EmbeddedBroker, EmbeddedOptions};
use service_kit::lifecycle::Failure;
use service_kit::{Settings, SettingsError};
use stock::{MemoryStock, StockStore};

/// The stock store of `SECKILL_STOCK_URL`.
pub(crate) fn stock(
    settings: &Settings,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn StockStore>, SettingsError> {
    const NAME: &str = "SECKILL_STOCK_URL";
    match settings.required(NAME)? {
        "memory:" => Ok(Arc::new(MemoryStock::new(clock))),
        other => Err(SettingsError::bad(NAME, unknown(other, "memory:"))),
    }
}

/// The broker of `SECKILL_QUEUE_URL`.
pub(crate) async fn broker(
    settings: &Settings,
    clock: Arc<dyn Clock>,
) -> Result<Arc<EmbeddedBroker>, Failure> {
    const NAME: &str = "SECKILL_QUEUE_URL";
    match settings.required(NAME)? {
        "embedded:" => {}
        other => return Err(SettingsError::bad(NAME, unknown(other, "embedded:")).into()),
    }
    let lanes = settings.number("SECKILL_LANES", 1, 1024)?;
    let options =
        EmbeddedOptions { lanes: u16::try_from(lanes).unwrap_or(u16::MAX), ..EmbeddedOptions::default() };
    let path = data_dir(settings)?.join("queue.db");
    EmbeddedBroker::open(&path, options, clock)
        .await
        .map_err(|e| Failure::failed(format_args!("the order queue does not open: {e}")))
}

/// The database of `SECKILL_DATABASE_URL`, its folder made.
pub(crate) fn database_url(settings: &Settings) -> Result<String, Failure> {
    const NAME: &str = "SECKILL_DATABASE_URL";
    let url = settings.required(NAME)?;
    let Some(path) = url.strip_prefix("sqlite:") else {
        return Err(SettingsError::bad(NAME, unknown(url, "sqlite:PATH")).into());
    };
    if let Some(folder) = Path::new(path).parent() {
        make_folder(folder, NAME)?;
    }
    Ok(url.to_owned())
}

/// The folder of `SECKILL_DATA_DIR`, made.
pub(crate) fn data_dir(settings: &Settings) -> Result<PathBuf, Failure> {
    const NAME: &str = "SECKILL_DATA_DIR";
    let folder = PathBuf::from(settings.required(NAME)?);
    make_folder(&folder, NAME)?;
    Ok(folder)
}

fn make_folder(folder: &Path, setting: &str) -> Result<(), SettingsError> {
    std::fs::create_dir_all(folder)
        .map_err(|e| SettingsError::bad(setting, format_args!("cannot make {}: {e}", folder.display())))
}

/// Shows the scheme only: what follows may hold a password.
fn unknown(url: &str, expected: &str) -> String {
    let scheme = url.split(':').next().unwrap_or_default();
    format!("no adapter has the scheme {scheme:?} (expected {expected})")
}
