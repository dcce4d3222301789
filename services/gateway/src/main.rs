//! The gateway as a process of its own.

use std::process::ExitCode;

use gateway::Config;
use service_kit::lifecycle::{Failure, run};
use service_kit::{Settings, SettingsError};

fn main() -> ExitCode {
    run("gateway", async |settings, _shutdown| start(&settings))
}

/// Checks every setting, then says that its engines cannot be shared between processes.
fn start(settings: &Settings) -> Result<(), Failure> {
    Config::from_settings(settings)?;
    for name in ["SECKILL_INVENTORY_URL", "SECKILL_ORDER_URL"] {
        service_kit::http::check_base_url(name, settings.required(name)?)?;
    }
    if let Some(notify) = settings.text("SECKILL_NOTIFY_URL") {
        service_kit::http::check_base_url("SECKILL_NOTIFY_URL", notify)?;
    }
    one_process_only(settings, "SECKILL_STOCK_URL", "memory:")?;
    one_process_only(settings, "SECKILL_QUEUE_URL", "embedded:")?;
    Ok(())
}

/// The embedded engine is refused by name, and what is no engine at all by what it is.
fn one_process_only(settings: &Settings, name: &str, embedded: &str) -> Result<(), SettingsError> {
    let url = settings.required(name)?;
    if url == embedded {
        let why = format_args!("{embedded} lives in one process; it works only inside `seckill run`");
        return Err(SettingsError::bad(name, why));
    }
    let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
    Err(SettingsError::bad(name, format_args!("there is no adapter for {scheme:?}")))
}
