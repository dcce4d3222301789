//! `seckill events`: replays the broker's log of events, one JSON line each, and follows it.

use std::io::Write as _;

use contract::events::Event;
use messaging::open_log;
use messaging::rabbitmq::LogStart;
use serde::Serialize;
use service_kit::lifecycle::Failure;
use service_kit::{Settings, SettingsError};
use tokio_util::sync::CancellationToken;

/// A line of the output.
#[derive(Serialize)]
struct Line<'a> {
    /// Its place in the log: `--from` takes it.
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a Event>,
    /// What stands there instead, if this version cannot read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<&'a str>,
}

/// Prints events from `start` on, until `shutdown` or until nobody reads them.
///
/// # Errors
/// A broker without a log, or one that does not answer.
pub async fn run(settings: Settings, start: LogStart, shutdown: CancellationToken) -> Result<(), Failure> {
    let url = settings.required("SECKILL_QUEUE_URL")?;
    let opened = open_log(url, start).await;
    let mut log = opened.map_err(|e| SettingsError::Engine(e.to_string()))?;
    let mut out = std::io::stdout().lock();
    loop {
        let logged = tokio::select! {
            logged = log.next() => logged.map_err(Failure::failed)?,
            () = shutdown.cancelled() => return Ok(()),
        };
        let (event, unreadable) = (logged.event.as_ref().ok(), logged.event.as_ref().err());
        let line = Line { offset: logged.offset, event, unreadable: unreadable.map(String::as_str) };
        let text = serde_json::to_string(&line).map_err(Failure::failed)?;
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
    }
}
