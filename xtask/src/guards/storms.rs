//! The rules of the protocol, shown by storms: with the rule taken out of the platform, the fault that it is there for
//! breaks a promise.

use std::path::Path;

use serde::Deserialize;

use super::{Index, Tree, apply, built_in};
use crate::process::leashed;
use crate::run::{Outcome, build_programs};

/// Where a fault strikes is chance: without its guard it must break a promise in one of so many tries.
const TRIES: u32 = 3;
/// What a run says that broke a promise, and no run that merely did not come off.
const BROKEN: &str = "broken: ";

/// A rule and the fault that it is there for.
#[derive(Deserialize)]
pub(super) struct Storm {
    /// The patch that takes it out: `xtask/guards/<guard>.patch`.
    guard: String,
    /// The rule, in a sentence.
    rule: String,
    /// The fault's name.
    fault: String,
}

/// Tries every rule whose guard or fault is asked for.
pub(crate) fn run(only: Option<&str>) -> Outcome {
    let index = Index::read()?;
    let wanted =
        |storm: &&Storm| super::is_asked_for(only, &storm.guard) || super::is_asked_for(only, &storm.fault);
    let chosen: Vec<_> = index.storm.iter().filter(wanted).collect();
    if chosen.is_empty() {
        return Err("no rule has such a guard".into());
    }
    let copy = Tree::copy()?;
    let tree = &copy.0;
    build(tree)?;
    // With every guard in place first: a fault that fails anyway shows nothing.
    for storm in &chosen {
        storm
            .strike(1)
            .map_err(|out| format!("{}: with every guard in place it fails:\n{out}", storm.fault))?;
    }
    let mut failed = Vec::new();
    for storm in &chosen {
        apply(&storm.guard, tree, false)?;
        let told = build(tree).and_then(|()| storm.breaks());
        apply(&storm.guard, tree, true)?;
        println!(
            "{:4} {:24} {:18} {}",
            if told.is_ok() { "ok" } else { "FAIL" },
            storm.guard,
            storm.fault,
            storm.rule
        );
        println!("     {}", told.as_ref().unwrap_or_else(|why| why));
        if told.is_err() {
            failed.push(storm.guard.as_str());
        }
    }
    if failed.is_empty() {
        println!("{} rules: without each, its fault breaks a promise", chosen.len());
        return Ok(());
    }
    Err(format!("without these guards no promise was broken: {}", failed.join(", ")))
}

/// Builds the tree's programs: hardly optimised, for they are built once for every guard.
fn build(tree: &Path) -> Outcome {
    let mut command = build_programs();
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
    // Code that a patch leaves without use is warned of; only errors are told.
    let output = command.current_dir(tree).env("CARGO_TARGET_DIR", built_in()).output();
    let output = output.map_err(|e| format!("cargo build: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("it does not build:\n{}", String::from_utf8_lossy(&output.stderr))),
    }
}

impl Storm {
    /// Strikes until a promise is broken; which one.
    fn breaks(&self) -> Outcome<String> {
        let mut last = String::new();
        for seed in 1..=TRIES {
            match self.strike(seed) {
                Ok(()) => last = "every promise was kept".into(),
                Err(out) => match out.split_once(BROKEN) {
                    Some((_, broken)) => return Ok(broken.lines().next().unwrap_or_default().to_owned()),
                    None => last = out,
                },
            }
        }
        Err(format!("in {TRIES} tries no promise was broken; the last one: {last}"))
    }

    /// One counted run on the programs as they are built; what it said if it failed.
    fn strike(&self, seed: u32) -> Result<(), String> {
        let this = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = leashed(&this, None)?;
        command.args(["faults", &self.fault, "--seed", &seed.to_string()]);
        command.env("XTASK_BINARIES", built_in().join("debug"));
        let output = command.output().map_err(|e| e.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
        }
    }
}
