//! The order service as a process of its own.

use std::process::ExitCode;

use service_kit::http::check_base_url;
use service_kit::lifecycle::{self, Failure};
use service_kit::{Settings, SettingsError};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    lifecycle::run("order", start)
}

async fn start(settings: Settings, _shutdown: CancellationToken) -> Result<(), Failure> {
    service_kit::telemetry::init(&settings)?;
    order::Config::from_settings(&settings)?;
    check_base_url("SECKILL_INVENTORY_URL", settings.required("SECKILL_INVENTORY_URL")?)?;
    let queue = settings.required("SECKILL_QUEUE_URL")?;
    let why = "lives in one process only; run all services together with `seckill run`";
    Err(SettingsError::bad("SECKILL_QUEUE_URL", format_args!("{queue:?} {why}")).into())
}
