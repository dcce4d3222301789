//! `cargo xtask bench embedded`: sustained orders on a large sale, then refusals of a sold-out one.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::storms::Storm;
use crate::platform::Platform;
use crate::process::Owned;
use crate::run::{Outcome, is_there, release, to_end, wait_for};
use crate::subject::Subject;

/// Length of the sustained storm, in seconds.
const STORM_S: u32 = 30;
/// Runs of the refusal measurement; their median counts.
const WRK_RUNS: usize = 5;
/// Length of one of them, in seconds.
const WRK_S: u32 = 5;

pub(super) fn run() -> Outcome {
    let folder = release()?;
    let mut build = crate::run::cargo(&["build", "--release", "--quiet", "-p", "gateway", "--examples"]);
    to_end(&mut build)?;
    println!("machine: {}", super::machine());
    orders(&folder)?;
    if is_there("wrk") || Path::new("/usr/bin/wrk").exists() {
        refusals(&folder)
    } else {
        println!("wrk is not installed: the refusals were left out");
        Ok(())
    }
}

/// One ticket and one order per buyer for half a minute; counted as rows in the ledger.
fn orders(folder: &Path) -> Outcome {
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut platform = Platform::new(&folder.join("seckill"), &home.path().join("data"))?;
    platform.start()?;
    platform.ready()?;
    let storm = Storm::play(folder, home.path(), &platform, STORM_S, None)?;
    println!("durable orders/s, committed rows        {:>10.0}", storm.rate("committed_rows_per_s"));
    println!("peak memory of the platform, MB         {:>10.0}", platform.peak_mb().unwrap_or(0.0));
    println!("platform CPU seconds in all             {:>10.1}", platform.cpu_seconds().unwrap_or(0.0));
    println!("generator CPU us a request              {:>10.1}", storm.rate("generator_cpu_us_per_request"));
    Ok(())
}

/// Sold-out refusals under wrk, beside a bare axum handler that is sent the same bytes; in turns.
fn refusals(folder: &Path) -> Outcome {
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut platform = Platform::new(&folder.join("seckill"), &home.path().join("data"))?;
    platform.start()?;
    platform.ready()?;
    let buy = sold_out_sale(folder, &platform)?;
    let (_bare, bare_port) = bare_axum(folder)?;
    let script = home.path().join("order.lua");
    let body = r#"{\"ticket\":\"t\",\"quantity\":1}"#;
    std::fs::write(
        &script,
        format!(
            "wrk.method=\"POST\"\nwrk.body=\"{body}\"\nwrk.headers[\"content-type\"]=\"application/json\"\n\
             wrk.headers[\"authorization\"]=\"Bearer x\"\n"
        ),
    )
    .map_err(|e| e.to_string())?;
    let (mut ours, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..WRK_RUNS {
        let a = wrk(&script, platform.port, &format!("{buy}/orders"))?;
        let b = wrk(&script, bare_port, "/orders")?;
        ours.push(a);
        bare.push(b);
        ratios.push(a / b);
    }
    println!("sold-out refusals/s, median of {WRK_RUNS}        {}", spread(&mut ours));
    println!("bare axum handler, same requests        {}", spread(&mut bare));
    println!("ratio                                   {}", spread_of(&mut ratios, 2));
    Ok(())
}

/// A sale whose only unit is taken; answers its buy path.
fn sold_out_sale(folder: &Path, platform: &Platform) -> Outcome<String> {
    let sale = json!({"id": "gone", "title": "Gone", "price_cents": 100, "currency": "EUR", "stock": 1,
        "per_user_limit": 1, "opens_at": 0, "ends_at": 9_999_999_999_999_i64, "pay_within_s": 3600});
    let made = platform.admin_post("/admin/v1/sales", &sale)?;
    let buy = made["buy"].as_str().ok_or("the new sale has no buy path")?.to_owned();
    let mut storm = Command::new(folder.join("loadtest"));
    storm.args(["storm", "--sale", "gone", "--duration", "2", "--buyers", "50", "--no-verdict"]);
    to_end(storm.args(platform.target_arguments()).stdout(Stdio::null()))?;
    wait_for("the sale selling out", Duration::from_secs(10), || {
        platform.admin_get("/admin/v1/sales/gone").is_ok_and(|s| s["state"] == "sold_out")
    })?;
    Ok(buy)
}

/// The baseline: an axum handler that answers the same refusal without looking at the request.
fn bare_axum(folder: &Path) -> Outcome<(Owned, u16)> {
    use std::io::{BufRead, BufReader};
    let mut command = Command::new(folder.join("examples").join("bare_axum"));
    command.stdout(Stdio::piped());
    let mut owned = Owned::start(command)?;
    let out = owned.output().ok_or("bare_axum has no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).map_err(|e| e.to_string())?;
    let port = line.trim().parse().map_err(|e| format!("bare_axum said {line:?}: {e}"))?;
    Ok((owned, port))
}

/// Requests a second; any answer but the refusal is an error.
fn wrk(script: &Path, port: u16, path: &str) -> Outcome<f64> {
    let output = Command::new("wrk")
        .args(["-t", "1", "-c", "64", "-d", &format!("{WRK_S}s"), "-s"])
        .arg(script)
        .arg(format!("http://127.0.0.1:{port}{path}"))
        .output()
        .map_err(|e| format!("wrk: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |name: &str| {
        let line = text.lines().find(|l| l.trim_start().starts_with(name))?;
        line.split_whitespace().last()?.parse::<f64>().ok()
    };
    let rate = field("Requests/sec:").ok_or_else(|| format!("wrk said:\n{text}"))?;
    let refused = field("Non-2xx or 3xx responses:").unwrap_or(0.0);
    if refused < rate * f64::from(WRK_S) * 0.9 {
        return Err(format!("most answers were no refusals:\n{text}"));
    }
    Ok(rate)
}

fn spread(values: &mut [f64]) -> String {
    spread_of(values, 0)
}

fn spread_of(values: &mut [f64], digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[0], values[values.len() - 1]);
    format!("{:>10.digits$}  ({low:.digits$} to {high:.digits$})", values[values.len() / 2])
}
