//! `wrk`: as many requests as a server answers, all alike.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cpu::Spent;
use crate::run::Outcome;

/// Connections of wrk, and its one thread.
const CONNECTIONS: &str = "64";
/// The least share of answers that must be as expected, for a run to count.
const EXPECTED_MIN: f64 = 0.99;

/// A request that is sent over and over.
pub(super) struct Request {
    script: PathBuf,
    path: String,
    is_refused: bool,
}

impl Request {
    /// `POST` of a JSON body with these headers, every one of them refused.
    pub(super) fn refused(
        home: &Path,
        name: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Outcome<Self> {
        let script = home.join(format!("{name}.lua"));
        let quoted = body.replace('"', "\\\"");
        let mut text = format!("wrk.method=\"POST\"\nwrk.body=\"{quoted}\"\n");
        for (name, value) in headers {
            let _ = writeln!(text, "wrk.headers[\"{name}\"]=\"{value}\"");
        }
        std::fs::write(&script, text).map_err(|e| format!("{}: {e}", script.display()))?;
        Ok(Self { script, path: path.to_owned(), is_refused: true })
    }

    /// A plain `GET` that is answered.
    pub(super) fn get(home: &Path, name: &str, path: &str) -> Outcome<Self> {
        let script = home.join(format!("{name}.lua"));
        std::fs::write(&script, "wrk.method=\"GET\"\n").map_err(|e| format!("{}: {e}", script.display()))?;
        Ok(Self { script, path: path.to_owned(), is_refused: false })
    }
}

/// What a server did under wrk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Requests a second.
    pub(super) rate: f64,
    /// The server's processor time per request, in microseconds.
    pub(super) cpu_us: f64,
}

/// Sends the request for so many seconds to this port of that process; an answer that is not as expected
/// is an error.
pub(super) fn play(request: &Request, seconds: u32, port: u16, pid: u32) -> Outcome<Load> {
    let before = Spent::now();
    let output = Command::new("wrk")
        .args(["-t", "1", "-c", CONNECTIONS, "-d", &format!("{seconds}s"), "-s"])
        .arg(&request.script)
        .arg(format!("http://127.0.0.1:{port}{}", request.path))
        .output()
        .map_err(|e| format!("wrk: {e}"))?;
    let spent = Spent::now().since(&before, pid);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |line: &str, at: usize| line.split_whitespace().nth(at)?.parse::<f64>().ok();
    let line = |part: &str| text.lines().find(|l| l.contains(part));
    let sent = line(" requests in ").and_then(|l| number(l, 0));
    let rate = line("Requests/sec:").and_then(|l| number(l, 1));
    let (Some(sent), Some(rate)) = (sent, rate) else { return Err(format!("wrk said:\n{text}")) };
    let refused = line("Non-2xx or 3xx responses:").and_then(|l| number(l, 4)).unwrap_or(0.0);
    let as_expected = if request.is_refused { refused } else { sent - refused };
    if as_expected < sent * EXPECTED_MIN {
        return Err(format!("most answers to {} were not as expected:\n{text}", request.path));
    }
    Ok(Load { rate, cpu_us: spent * 1e6 / sent.max(1.0) })
}

/// Whether wrk is there. It knows no `--version` that succeeds.
pub(super) fn is_there() -> bool {
    Command::new("wrk").arg("-v").output().is_ok()
}

/// Median, and the lowest and highest, of values of repeated runs.
pub(super) fn spread(values: &mut [f64], digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (values.first(), values.last()) else { return String::from("-") };
    format!("{:>9.digits$} ({low:.digits$} to {high:.digits$})", values[values.len() / 2])
}
