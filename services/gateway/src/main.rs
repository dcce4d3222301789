//! The gateway as a process of its own.

use std::process::ExitCode;

use gateway::Config;
use service_kit::lifecycle::{Failure, run};
use service_kit::{Settings, SettingsError};

fn main() -> ExitCode {
    run("gateway", async |settings, _shutdown| start(&settings))
}

/// Checks every setting, then says which engine cannot be shared between processes.
fn start(settings: &Settings) -> Result<(), Failure> {
    Config::from_settings(settings)?;
    for (name, embedded) in [("SECKILL_STOCK_URL", "memory:"), ("SECKILL_QUEUE_URL", "embedded:")] {
        let url = settings.required(name)?;
        let why = if url == embedded {
            format!("{embedded} lives in one process; it works only inside `seckill run`")
        } else {
            let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
            format!("there is no adapter for {scheme:?}; known: {embedded} (inside `seckill run`)")
        };
        return Err(SettingsError::bad(name, why).into());
    }
    Ok(())
}
