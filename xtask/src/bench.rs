//! Benchmarks: what the platform does on this machine, beside a baseline in the same run.

mod abuse;
mod cpu;
mod embedded;
mod gateway;
mod stack;
mod storms;
mod wrk;

use clap::ValueEnum;

pub(crate) use gateway::new_sale;

use crate::run::Outcome;

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum What {
    /// The all-in-one on embedded parts: durable orders a second, memory, sold-out refusals.
    Embedded,
    /// Refusals and the gate document, beside a bare axum handler, nginx with Lua, and nginx alone.
    Gateway,
    /// What honest visitors see while others storm, dawdle, and come under millions of names.
    Abuse,
    /// The separate services on Redis, RabbitMQ and Postgres, and each adapter beside a bare client.
    Stack,
}

/// Measures it.
pub(crate) fn run(what: What) -> Outcome {
    match what {
        What::Embedded => embedded::run(),
        What::Gateway => gateway::run(),
        What::Abuse => abuse::run(),
        What::Stack => stack::run(),
    }
}

/// The processor, cores and kernel, for figures that stand beside their machine.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("").trim_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}
