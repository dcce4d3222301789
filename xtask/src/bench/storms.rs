//! A measured storm, and what it came to.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::run::{Outcome, to_end};
use crate::subject::Subject;

/// Units of the large sale: more than can be sold in the time.
const STOCK: &str = "1000000";
/// Clients at once.
const CONNECTIONS: &str = "256";
/// Accepted orders that are looked up one by one; all of them are judged by the ledger's counts.
const SAMPLE: &str = "20000";

/// What a storm came to; its verdict was kept, or there is none.
pub(super) struct Storm(Value);

impl Storm {
    /// Storms the platform for so many seconds: as fast as it answers, or with `rate` buyers a second
    /// whatever it answers.
    pub(super) fn play(
        programs: &Path,
        home: &Path,
        platform: &dyn Subject,
        seconds: u32,
        rate: Option<f64>,
    ) -> Outcome<Self> {
        let result = home.join("storm.json");
        let mut storm = Command::new(programs.join("loadtest"));
        storm.args(["storm", "--stock", STOCK, "--connections", CONNECTIONS, "--sample", SAMPLE]);
        storm.args(["--duration", &seconds.to_string()]).arg("--json").arg(&result);
        if let Some(rate) = rate {
            storm.args(["--rate", &format!("{rate:.0}")]);
        }
        to_end(storm.args(platform.target_arguments()))?;
        let text = std::fs::read_to_string(&result).map_err(|e| e.to_string())?;
        serde_json::from_str(&text).map(Self).map_err(|e| e.to_string())
    }

    /// One of its rates.
    pub(super) fn rate(&self, name: &str) -> f64 {
        self.0["rates"][name].as_f64().unwrap_or(0.0)
    }

    /// A percentile of the time to a 202, in milliseconds.
    pub(super) fn order_ms(&self, percentile: &str) -> f64 {
        self.0["latency_us"]["order"][percentile].as_f64().unwrap_or(f64::NAN) / 1_000.0
    }
}
