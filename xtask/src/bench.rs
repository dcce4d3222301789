//! Benchmarks: what the platform does on this machine, beside a baseline in the same run.

mod embedded;

use clap::ValueEnum;

use crate::run::Outcome;

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum What {
    /// The all-in-one on embedded parts: durable orders a second, memory, sold-out refusals.
    Embedded,
}

/// Measures it.
pub(crate) fn run(what: What) -> Outcome {
    match what {
        What::Embedded => embedded::run(),
    }
}
