//! What a run leaves behind: a table for people, the same numbers as JSON for machines.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::tally::{Kind, Series, Tally};
use crate::verdict::Verdict;

/// Rates of the measured window.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Rates {
    /// Length of the window.
    pub(crate) seconds: f64,
    /// Answers of all kinds.
    pub(crate) requests_per_s: f64,
    /// First 202s.
    pub(crate) accepted_per_s: f64,
    /// Rows that the ledger gained.
    pub(crate) committed_rows_per_s: f64,
    /// Processor time of this program for one request, in microseconds.
    pub(crate) generator_cpu_us_per_request: f64,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// What was played, in a sentence.
    pub(crate) title: String,
    /// The answers.
    pub(crate) tally: Option<&'a Tally>,
    /// The window.
    pub(crate) rates: Option<Rates>,
    /// More lines of the table: name and value.
    pub(crate) extra: Vec<(&'static str, Value)>,
    /// The verdict; absent when a later one judges.
    pub(crate) verdict: Option<Verdict>,
}

/// Prints a line. A closed pipe (`| head`) is no reason to fail.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
}

impl Report<'_> {
    /// The table.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("\n{}\n", self.title);
        if let Some(tally) = self.tally {
            text.push_str(&answers(tally));
            text.push_str(&latencies(tally));
        }
        if let Some(rates) = self.rates {
            let _ = write!(
                text,
                "\nrates over {:.1} s\n  requests/s               {:>12.0}\n  accepted/s               {:>12.0}\n  \
                 committed rows/s         {:>12.0}\n  generator CPU us/request {:>12.1}\n",
                rates.seconds,
                rates.requests_per_s,
                rates.accepted_per_s,
                rates.committed_rows_per_s,
                rates.generator_cpu_us_per_request
            );
        }
        if !self.extra.is_empty() {
            text.push('\n');
        }
        for (name, value) in &self.extra {
            let _ = writeln!(text, "  {name:<32} {value:>10}");
        }
        if let Some(verdict) = &self.verdict {
            text.push_str("\nverdict\n");
            for p in &verdict.promises {
                let mark = if p.held { "kept  " } else { "BROKEN" };
                let _ = writeln!(text, "  {mark} {:<38} {}", p.promise, p.detail);
            }
            text.push_str(if verdict.passed() { "\nPASSED\n" } else { "\nFAILED\n" });
        }
        text
    }

    /// The same for machines.
    pub(crate) fn json(&self) -> Value {
        let mut answers = Map::new();
        let mut latency = Map::new();
        if let Some(tally) = self.tally {
            for kind in Kind::ALL {
                answers.insert(format!("{kind:?}").to_lowercase(), tally.of(*kind).into());
            }
            for series in Series::ALL {
                latency.insert(format!("{series:?}").to_lowercase(), percentiles(tally, *series));
            }
        }
        let extra: Map<String, Value> =
            self.extra.iter().map(|(name, value)| (name.replace(' ', "_"), value.clone())).collect();
        json!({
            "title": self.title,
            "passed": self.verdict.as_ref().map(Verdict::passed),
            "answers": answers,
            "refused_as": self.tally.map(Tally::explained),
            "latency_us": latency,
            "rates": self.rates,
            "extra": extra,
            "promises": self.verdict.as_ref().map(|v| &v.promises),
        })
    }

    /// Prints the table and writes the JSON; true when the verdict passed (or is left to a later one).
    ///
    /// # Errors
    /// When the JSON file cannot be written.
    pub(crate) fn publish(&self, json: Option<&Path>) -> std::io::Result<bool> {
        say(&self.text());
        if let Some(path) = json {
            std::fs::write(path, format!("{:#}\n", self.json()))?;
        }
        Ok(self.verdict.as_ref().is_none_or(Verdict::passed))
    }
}

fn answers(tally: &Tally) -> String {
    let mut text = String::from("\nanswers\n");
    for kind in Kind::ALL {
        let _ = writeln!(text, "  {:<32} {:>10}", kind.text(), tally.of(*kind));
    }
    for (answer, count) in tally.explained() {
        let _ = writeln!(text, "    of these {answer:<21} {count:>10}");
    }
    text
}

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];

fn latencies(tally: &Tally) -> String {
    let timed = |series: &&Series| tally.latency(**series, |h| !h.is_empty());
    if !Series::ALL.iter().any(|series| timed(&series)) {
        return String::new();
    }
    let mut text = format!("\n{:<14}", "latency, ms");
    for (name, _) in QUANTILES {
        let _ = write!(text, "{name:>9}");
    }
    let _ = writeln!(text, "{:>9}{:>12}", "max", "count");
    for series in Series::ALL.iter().filter(timed) {
        let line = tally.latency(*series, |h| {
            // Microseconds below two minutes are exact in a float.
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let ms = |us: u64| us as f64 / 1000.0;
            let mut line = format!("  {:<12}", series.text());
            for (_, quantile) in QUANTILES {
                let _ = write!(line, "{:>9.2}", ms(h.value_at_quantile(quantile)));
            }
            let _ = writeln!(line, "{:>9.2}{:>12}", ms(h.max()), h.len());
            line
        });
        text.push_str(&line);
    }
    text
}

fn percentiles(tally: &Tally, series: Series) -> Value {
    tally.latency(series, |h| {
        let mut map = Map::new();
        for (name, quantile) in QUANTILES {
            map.insert(name.into(), h.value_at_quantile(quantile).into());
        }
        map.insert("max".into(), h.max().into());
        map.insert("count".into(), h.len().into());
        Value::Object(map)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Promise;

    #[test]
    fn the_table_and_the_json_carry_the_verdict() {
        let tally = Tally::new();
        tally.count(Kind::Accepted);
        let promise = Promise::new("never oversell", false, "11 of 10");
        let report = Report {
            title: "t".into(),
            tally: Some(&tally),
            rates: Some(Rates::default()),
            extra: vec![("late captures", 3.into())],
            verdict: Some(Verdict { promises: vec![promise] }),
        };
        let text = report.text();
        assert!(text.contains("BROKEN never oversell") && text.contains("FAILED"), "{text}");
        let json = report.json();
        assert_eq!(json["passed"], false);
        assert_eq!(json["answers"]["accepted"], 1);
        assert_eq!(json["extra"]["late_captures"], 3);
    }
}
