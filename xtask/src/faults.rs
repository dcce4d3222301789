//! `cargo xtask faults`: storms on separate services and private engines, each with one fault in the middle,
//! judged by the client's journal and the ledger.
//!
//! A run counts only if its effect is to be seen: enough buyers connected when the fault struck, buyers
//! refused who came back for more than they may have, and what the fault is about (an unknown publish, a
//! redelivery, a fence, a closed sale) in the services' own numbers or in what the fault itself saw. A run
//! without its effect proves nothing and is done again; a fault whose effect does not show in three runs for
//! one counted fails. A run that broke a promise counts whatever it showed, and is put on record as such.

mod catalogue;
mod document;
mod engines;
mod evidence;
mod high_availability;
mod messages;
mod network;
mod payments;
mod run;
mod scene;
mod services;

use clap::Args;

use crate::run::Outcome;
use crate::stack::Shape;
use evidence::Effect;
use scene::Scene;

/// `cargo xtask faults`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only faults whose name contains this.
    only: Option<String>,
    /// Counted runs of each.
    #[arg(long, default_value_t = 1)]
    runs: u32,
    /// Only the short set that every change must pass.
    #[arg(long)]
    short: bool,
    /// Print what there is, and run nothing.
    #[arg(long)]
    list: bool,
    /// Add every counted run to docs/faults.csv and docs/faults.md; with `--list`, only bring up to date what is
    /// injected and expected.
    #[arg(long)]
    write: bool,
    /// Decides when within the storm faults strike.
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

/// One fault.
pub(crate) struct Fault {
    /// Its name.
    pub(crate) name: &'static str,
    /// What is done to the platform.
    pub(crate) injects: &'static str,
    /// What is expected of it.
    pub(crate) expected: &'static str,
    /// What must be seen of it, for a run to count: every one of these.
    pub(crate) effects: &'static [Effect],
    /// The platform it strikes.
    pub(crate) shape: fn() -> Shape,
    /// Units of the storm's sale.
    pub(crate) stock: u32,
    /// Seconds that buyers arrive.
    pub(crate) storm_s: u32,
    /// Seconds that a buyer keeps retrying. Without patience, what a fault interrupts is never continued.
    pub(crate) patience_s: u32,
    /// The longest time without a single 202, where one is promised.
    pub(crate) pause_ms_max: Option<u64>,
    /// Whether something must be sold after it was mended. Not where the storm may be over by then, or the stock
    /// sold out.
    pub(crate) goes_on: bool,
    /// Whether the ledger may refuse orders after their 202: only where the stock store was made to lie.
    pub(crate) may_reject: bool,
    /// Whether it is in the short set.
    pub(crate) short: bool,
    /// Strikes, and mends what it broke.
    pub(crate) inject: fn(&mut Scene<'_>) -> Outcome,
}

/// Runs the chosen faults; every one of them, also when one failed before.
pub(crate) fn run(options: &Options) -> Outcome {
    let wanted = |fault: &Fault| {
        options.only.as_deref().is_none_or(|part| fault.name.contains(part))
            && (fault.short || !options.short)
    };
    let chosen: Vec<&Fault> = catalogue::all().filter(|fault| wanted(fault)).collect();
    if chosen.is_empty() {
        return Err("no fault has such a name".into());
    }
    if options.list {
        for fault in &chosen {
            println!("{:24} {}\n{:24} expected: {}", fault.name, fault.injects, "", fault.expected);
        }
        return if options.write { document::refresh(chosen.into_iter()) } else { Ok(()) };
    }
    let mut failed = Vec::new();
    for fault in &chosen {
        let told = run::all(fault, options);
        println!("   {}", told.measured);
        if let Some(why) = told.failure {
            failed.push(format!("{}: {why}", fault.name));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("faults that failed: {}", failed.join("; "))) }
}
