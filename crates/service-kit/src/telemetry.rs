//! Logs and metrics of a process.

use std::ffi::OsStr;
use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::{Settings, SettingsError};

/// The lines of operators' acts, as the log filter has it.
const AUDIT: &str = "audit=info";

/// Starts logging to standard error and collecting metrics, once a process.
///
/// # Errors
/// When the log filter or format cannot be understood.
pub fn init(settings: &Settings) -> Result<Metrics, SettingsError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(settings)?)
        .with_ansi(wants_colours(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref()))
        .with_writer(std::io::stderr);
    // A second call in one process (tests) keeps the first subscriber; nothing is lost by that.
    let _ = match settings.required("SECKILL_LOG_FORMAT")? {
        "text" => builder.with_target(false).try_init(),
        "json" => builder.json().try_init(),
        other => {
            return Err(SettingsError::bad(
                "SECKILL_LOG_FORMAT",
                format_args!("{other:?} is neither text nor json"),
            ));
        }
    };
    Ok(Metrics::install())
}

/// Colours are for people: in a file or a log collector their escape codes are noise, and every request would pay for
/// writing them. Who sets `NO_COLOR` wants none at all.
fn wants_colours(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

fn filter(settings: &Settings) -> Result<EnvFilter, SettingsError> {
    let bad = |e: &dyn std::fmt::Display| SettingsError::bad("SECKILL_LOG", e);
    let filter = EnvFilter::try_new(settings.required("SECKILL_LOG")?).map_err(|e| bad(&e))?;
    // What operators did is recorded somewhere, whatever else is left out.
    match settings.text("SECKILL_AUDIT_FILE") {
        Some(_) => Ok(filter),
        None => Ok(filter.add_directive(AUDIT.parse().map_err(|e| bad(&e))?)),
    }
}

/// The process's metrics, for `/metrics`.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// The process's recorder; installed by the first call, shared by all.
    #[must_use]
    pub fn install() -> Self {
        static RECORDER: std::sync::OnceLock<Metrics> = std::sync::OnceLock::new();
        RECORDER
            .get_or_init(|| {
                let recorder = PrometheusBuilder::new().build_recorder();
                let handle = recorder.handle();
                // Only this function installs one, and only once.
                let _ = metrics::set_global_recorder(recorder);
                Self(handle)
            })
            .clone()
    }

    /// Folds what histograms have recorded. Somebody must do it every few seconds, scraped or not:
    /// until then every recorded value is kept.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }

    /// The metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_unless_nobody_wants_them() {
        assert!(wants_colours(true, None) && wants_colours(true, Some(OsStr::new(""))));
        assert!(!wants_colours(true, Some(OsStr::new("1"))));
        assert!(!wants_colours(false, None));
    }

    #[test]
    fn what_operators_did_is_logged_whatever_the_filter_unless_a_file_has_it() {
        let settings = Settings::from_vars([("SECKILL_LOG".to_owned(), "warn".to_owned())]).unwrap();
        assert!(filter(&settings).unwrap().to_string().contains(AUDIT));
        let kept = settings.with("SECKILL_AUDIT_FILE", "acts.jsonl");
        assert!(!filter(&kept).unwrap().to_string().contains(AUDIT));
    }
}
