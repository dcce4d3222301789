//! `cargo xtask bench embedded`: sustained orders on a large sale, then refusals of a sold-out one.

use std::path::Path;

use super::gateway::{bare_axum, sold_out_sale};
use super::storms::Storm;
use super::wrk::{self, Request};
use crate::platform::Platform;
use crate::run::{Outcome, release, release_examples};
use crate::subject::Subject;

/// Length of a sustained storm, in seconds.
const STORM_S: u32 = 30;
/// Orders a second of the storm that memory is measured in: what the platform keeps grows with what it has sold.
const STEADY_PER_S: f64 = 12_500.0;
/// Runs of the refusal measurement; their median counts.
const WRK_RUNS: usize = 5;
/// Length of one of them, in seconds.
const WRK_S: u32 = 5;

pub(super) fn run() -> Outcome {
    let folder = release()?;
    let examples = release_examples(&["gateway"])?;
    println!("machine: {}", super::machine());
    orders(&folder, None)?;
    orders(&folder, Some(STEADY_PER_S))?;
    if wrk::is_there() {
        refusals(&folder, &examples)
    } else {
        println!("wrk is not installed: the refusals were left out");
        Ok(())
    }
}

/// One ticket and one order per buyer for half a minute, as fast as they are answered or so many a second; counted as
/// rows in the ledger.
fn orders(folder: &Path, rate: Option<f64>) -> Outcome {
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut platform = Platform::new(&folder.join("seckill"), &home.path().join("data"))?;
    platform.start()?;
    platform.ready()?;
    let storm = Storm::play(folder, home.path(), &platform, STORM_S, rate)?;
    match rate {
        None => println!("\nas fast as they are answered"),
        Some(rate) => println!("\n{rate:.0} buyers a second"),
    }
    println!("  durable orders/s, committed rows      {:>10.0}", storm.rate("committed_rows_per_s"));
    for percentile in ["p50", "p99", "p999"] {
        println!("  {percentile:<5} of the 202, ms                  {:>10.1}", storm.order_ms(percentile));
    }
    println!("  peak memory of the platform, MB       {:>10.0}", platform.peak_mb().unwrap_or(0.0));
    println!("  platform CPU seconds in all           {:>10.1}", platform.cpu_seconds().unwrap_or(0.0));
    println!("  generator CPU us a request            {:>10.1}", storm.rate("generator_cpu_us_per_request"));
    Ok(())
}

/// Sold-out refusals under wrk, beside a bare axum handler that is sent the same bytes; in turns.
fn refusals(folder: &Path, examples: &Path) -> Outcome {
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut platform = Platform::new(&folder.join("seckill"), &home.path().join("data"))?;
    platform.start()?;
    platform.ready()?;
    let buy = sold_out_sale(folder, &platform)?;
    let (server, bare_port) = bare_axum(examples)?;
    let headers = [("content-type", "application/json"), ("authorization", "Bearer x")];
    let body = r#"{"ticket":"t","quantity":1}"#;
    let order = Request::refused(home.path(), "order", &format!("{buy}/orders"), body, &headers)?;
    let (mut ours, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..WRK_RUNS {
        let a = wrk::play(&order, WRK_S, platform.port, platform.pid().unwrap_or(0))?.rate;
        let b = wrk::play(&order, WRK_S, bare_port, server.pid())?.rate;
        ours.push(a);
        bare.push(b);
        ratios.push(a / b);
    }
    println!("\nsold-out refusals/s, median of {WRK_RUNS}        {}", wrk::spread(&mut ours, 0));
    println!("bare axum handler, same requests        {}", wrk::spread(&mut bare, 0));
    println!("ratio                                   {}", wrk::spread(&mut ratios, 2));
    Ok(())
}
