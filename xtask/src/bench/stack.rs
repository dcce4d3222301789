//! `cargo xtask bench stack`: each adapter beside a bare client of its engine, then the whole platform as
//! separate processes on the real engines.

use std::path::Path;
use std::process::Command;

use super::cpu::Spent;
use super::storms::Storm;
use crate::engines::{Durability, Engines};
use crate::run::{Outcome, release, release_examples, to_end};
use crate::stack::{Shape, Stack};
use crate::subject::Subject;

/// Each prints its figures and their ratio, both clients in turns.
const BESIDE_BARE_CLIENTS: [(&str, &str); 3] =
    [("stock", "reserve_bench"), ("messaging", "rabbit_bench"), ("order", "commit_bench")];
/// Length of the storm that finds the rate, in seconds.
const STORM_S: u32 = 30;
/// Length of the one at a part of that rate.
const CALM_S: u32 = 20;
/// That part.
const CALM_PART: f64 = 0.7;

pub(super) fn run() -> Outcome {
    let programs = release()?;
    println!("machine: {}", super::machine());
    adapters()?;
    end_to_end(&programs)
}

fn adapters() -> Outcome {
    let programs = release_examples(&BESIDE_BARE_CLIENTS.map(|(package, _)| package))?;
    let engines = Engines::start(Durability::Full)?;
    for (package, example) in BESIDE_BARE_CLIENTS {
        println!("\n== {package}: {example}");
        to_end(Command::new(programs.join(example)).envs(engines.test_variables()))?;
    }
    Ok(())
}

fn end_to_end(programs: &Path) -> Outcome {
    println!(
        "\n== the whole platform: one process a service, every engine and the generator on this machine"
    );
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut stack = Stack::new(&Shape::default(), Durability::Full)?;
    stack.start()?;
    stack.ready()?;
    let before = Spent::now();
    let storm = Storm::play(programs, home.path(), &stack, STORM_S, None)?;
    let (after, rate) = (Spent::now(), storm.rate("committed_rows_per_s"));
    let orders = rate * f64::from(STORM_S);
    println!("\norders/s committed in Postgres            {rate:>8.0}");
    for (name, pid) in processes(&stack) {
        let spent_us = after.since(&before, pid) * 1e6;
        println!("  CPU us an order, {name:<22}   {:>8.1}", spent_us / orders);
    }
    println!(
        "  CPU us an order, generator                {:>8.1}",
        2.0 * storm.rate("generator_cpu_us_per_request")
    );
    let calm = Storm::play(programs, home.path(), &stack, CALM_S, Some(rate * CALM_PART))?;
    println!(
        "\nat {:.0} % of that rate, orders/s            {:>8.0}",
        CALM_PART * 100.0,
        calm.rate("committed_rows_per_s")
    );
    for percentile in ["p50", "p90", "p99", "p999"] {
        println!("  {percentile:<5} of the 202, ms                      {:>8.1}", calm.order_ms(percentile));
    }
    Ok(())
}

/// Everything that runs, by name and process.
fn processes(stack: &Stack) -> Vec<(String, u32)> {
    let engines = &stack.engines;
    let servers = stack.services.iter().map(|s| &s.server);
    let servers = servers.chain([&engines.redis.server, &engines.rabbitmq.server, &engines.postgres.server]);
    servers.filter_map(|s| Some((s.name().to_owned(), s.pid()?))).collect()
}
