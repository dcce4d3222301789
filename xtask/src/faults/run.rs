//! The runs of one fault.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::document::Counted;
use super::evidence::{Counters, Evidence, Played};
use super::scene::{Mended, Scene, Watch};
use super::{Fault, Options, document};
use crate::engines::Durability;
use crate::process::{Home, leashed};
use crate::run::{Outcome, release, target, wait_for};
use crate::stack::Stack;
use crate::subject::{SOLD_SINCE_LINES_MIN, Subject};

/// How long a run's evidence may take to show: the broker tells its numbers every few seconds.
const SHOW_S_MAX: Duration = Duration::from_secs(15);
/// Tries without their effect that are borne for every counted run that is asked for: where within the
/// storm a fault strikes is chance, and what it catches there too.
const UNCOUNTED_MAX_EACH: u32 = 2;
/// How the error begins of a verdict that found a promise broken, and of no run that merely did not come off.
pub(super) const BROKEN: &str = "broken: ";

/// What became of a fault's runs.
pub(super) struct Told {
    /// The first run that failed, and why.
    pub(super) failure: Option<String>,
    /// A line for people.
    pub(super) measured: String,
}

/// Why a run is not among the counted ones.
enum Not {
    /// It kept its promises, but its effect was not to be seen: it proves nothing, and is done again.
    Counted(String),
    /// It broke a promise: what was seen of it, and which one.
    Kept(Box<Evidence>, String),
    /// The run itself did not come off.
    Played(String),
}

impl Not {
    /// Of a run that ended with this error.
    fn of(scene: &Scene<'_>, played: &Played, why: String) -> Self {
        if !why.starts_with(BROKEN) {
            return Self::Played(why);
        }
        // Who does not answer any more tells nothing, and the promise is broken all the same.
        let now = Counters::read(scene).unwrap_or_else(|_| played.before.clone());
        Self::Kept(Box::new(Evidence::of(scene, played, &now)), why)
    }
}

impl From<String> for Not {
    fn from(why: String) -> Self {
        Self::Played(why)
    }
}

/// Runs it until so many runs counted, on one platform as long as all goes well.
pub(super) fn all(fault: &Fault, options: &Options) -> Told {
    let (runs, seed) = (options.runs, options.seed);
    println!("== {}: {}", fault.name, fault.injects);
    let mut stack = None;
    let mut seen = Vec::new();
    let (mut n, mut counted, mut failures, mut uncounted) = (0, 0, 0, 0);
    let mut failure = None;
    while counted + failures < runs && uncounted <= runs * UNCOUNTED_MAX_EACH {
        n += 1;
        let ended = one(fault, &mut stack, seed.wrapping_add(n));
        match &ended {
            Ok(evidence) => {
                println!("   run {n} kept every promise: {}", evidence.text());
                counted += 1;
            }
            Err(Not::Counted(why)) => {
                println!("   run {n} does not count: {why}");
                uncounted += 1;
            }
            Err(Not::Kept(_, why) | Not::Played(why)) => {
                println!("   run {n} FAILED: {why}");
                failures += 1;
                failure.get_or_insert(why.clone());
                keep(fault, n, stack.take());
            }
        }
        let Some(run) = on_record(ended) else { continue };
        if options.write
            && let Err(why) = document::write(fault, seed.wrapping_add(n), &run)
        {
            failure.get_or_insert(why);
        }
        seen.push(run);
    }
    if failures == 0 && counted < runs {
        failure = Some(format!("{uncounted} runs did not show their effect"));
    }
    let without = if uncounted == 0 { String::new() } else { format!("; {uncounted} more showed no effect") };
    Told { failure, measured: document::measured(&seen) + &without }
}

/// What belongs on record: also a run that broke a promise, but none that did not come off.
fn on_record(ended: Result<Evidence, Not>) -> Option<Counted> {
    match ended {
        Ok(seen) => Some(Counted { seen, broken: None, is_older: false }),
        Err(Not::Kept(seen, why)) => Some(Counted { seen: *seen, broken: Some(why), is_older: false }),
        Err(Not::Counted(_) | Not::Played(_)) => None,
    }
}

/// Leaves the logs of a failed run where they can be read.
fn keep(fault: &Fault, n: u32, stack: Option<Stack>) {
    let folder = target().join("faults").join(format!("{}-{n}", fault.name));
    let Some(stack) = stack else { return };
    match stack.keep_logs(&folder) {
        Ok(()) => println!("   its logs are in {}", folder.display()),
        Err(why) => println!("   its logs could not be kept: {why}"),
    }
}

/// One storm with the fault in its middle. The platform is made if there is none.
fn one(fault: &Fault, stack: &mut Option<Stack>, seed: u32) -> Result<Evidence, Not> {
    let loadtest = release()?.join("loadtest");
    let stack = match stack {
        Some(stack) => stack,
        none => {
            let mut fresh = Stack::new(&(fault.shape)(), Durability::Full)?;
            fresh.start()?;
            none.insert(fresh)
        }
    };
    stack.ready()?;
    let home = Home::new()?;
    let (journal, result) = (home.path().join("journal"), home.path().join("storm.json"));
    let mut scene = Scene::new(stack, &journal, seed);
    let mut storm = scene.storm(&loadtest, fault, seed, &result)?;
    scene.risen(&mut storm)?;
    let (before, broken_before) = (Counters::read_patiently(&scene)?, scene.broken_so_far());
    scene.count_connections();
    let watch = Watch::begin(&journal);
    let injected = (fault.inject)(&mut scene);
    let mended = scene.mended(fault);
    if let Err(why) = injected {
        // The storm is cut off: it has told nothing yet.
        let played = Played { before, broken_before, mended, pause: watch.end(), told: Value::Null };
        return Err(Not::of(&scene, &played, why));
    }
    let status = storm.wait()?;
    let pause = watch.end();
    if !status.success() {
        return Err(Not::Played(format!("the storm ended with {status}")));
    }
    scene.stack.ready()?;
    let played = Played { before, broken_before, mended, pause, told: json(&result)? };
    verdict(&loadtest, fault, &scene, &journal, &home.path().join("verdict.json"))
        .map_err(|why| Not::of(&scene, &played, why))?;
    judged(fault, &scene, &played)
}

/// Whether the promises that the verdict knows nothing of were kept, and then whether the effect is there: a run
/// that broke a promise has failed, whatever else was to be seen.
fn judged(fault: &Fault, scene: &Scene<'_>, played: &Played) -> Result<Evidence, Not> {
    let now = Counters::read(scene).unwrap_or_else(|_| played.before.clone());
    let mut evidence = Evidence::of(scene, played, &now);
    kept(fault, &evidence, &played.mended)?;
    let shown = wait_for("the effect", SHOW_S_MAX, || {
        // Who does not answer tells nothing: what was seen the time before stands.
        if let Ok(now) = Counters::read(scene) {
            evidence = Evidence::of(scene, played, &now);
        }
        evidence.missing(fault.effects).is_empty()
    });
    match shown {
        Ok(_) => Ok(evidence),
        Err(_) => {
            let missing = evidence.missing(fault.effects).join(", ");
            Err(Not::Counted(format!("not seen: {missing}; {}", evidence.text())))
        }
    }
}

/// Whether the pause was as short as promised, and selling went on after the fault had been mended.
fn kept(fault: &Fault, evidence: &Evidence, mended: &Mended) -> Result<(), Not> {
    let broken = |why: String| Err(Not::Kept(Box::new(*evidence), why));
    if let Some(most) = fault.pause_ms_max
        && evidence.pause.as_millis() > u128::from(most)
    {
        return broken(format!("no 202 for longer than {most} ms: {}", evidence.text()));
    }
    if !fault.goes_on || evidence.sold_after() >= f64::from(SOLD_SINCE_LINES_MIN) {
        return Ok(());
    }
    match mended.in_time {
        true => broken(format!("nothing was sold after it was mended: {}", evidence.text())),
        false => Err(Not::Counted("it was mended when the storm was over".into())),
    }
}

/// The journal's verdict; its broken promises are the error.
fn verdict(loadtest: &Path, fault: &Fault, scene: &Scene<'_>, journal: &Path, result: &Path) -> Outcome {
    let mut command = leashed(loadtest, None)?;
    command.arg("verdict").arg("--journal").arg(journal).arg("--json").arg(result);
    if fault.may_reject {
        command.arg("--may-reject");
    }
    command.args(scene.stack.target_arguments());
    let output = command.output().map_err(|e| format!("verdict: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(match broken_promises(result) {
        none if none.is_empty() => {
            format!("no verdict: {}", String::from_utf8_lossy(&output.stderr).trim())
        }
        broken => format!("{BROKEN}{broken}"),
    })
}

/// The promises that this result says were broken.
pub(super) fn broken_promises(result: &Path) -> String {
    let told = json(result).unwrap_or_default();
    let promises = told["promises"].as_array().into_iter().flatten();
    let broken = promises
        .filter(|p| p["held"] == false)
        .map(|p| format!("{}: {}", p["promise"].as_str().unwrap_or("?"), p["detail"].as_str().unwrap_or("")));
    broken.collect::<Vec<_>>().join("; ")
}

/// What this file holds.
pub(super) fn json(file: &Path) -> Outcome<Value> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::catalogue;
    use crate::faults::evidence::Effect;

    #[test]
    fn a_broken_promise_fails_a_run_before_its_effect_is_looked_for() {
        let fault = catalogue::all().find(|f| f.goes_on && f.pause_ms_max == Some(5_000)).unwrap();
        let (in_time, too_late) =
            (Mended { accepted: 9, in_time: true }, Mended { accepted: 9, in_time: false });
        let quiet = Evidence { pause: Duration::from_secs(2), ..Evidence::default() };
        let sold = quiet.with(Effect::SoldAfter, f64::from(SOLD_SINCE_LINES_MIN));
        assert!(kept(fault, &sold, &in_time).is_ok());
        let long = Evidence { pause: Duration::from_secs(30), ..sold };
        assert!(matches!(kept(fault, &long, &in_time), Err(Not::Kept(..))));
        assert!(matches!(kept(fault, &quiet, &in_time), Err(Not::Kept(..))), "nothing was sold");
        assert!(matches!(kept(fault, &quiet, &too_late), Err(Not::Counted(_))), "nobody was there to buy");
        let ends = catalogue::all().find(|f| !f.goes_on && f.pause_ms_max == Some(5_000)).unwrap();
        assert!(kept(ends, &quiet, &in_time).is_ok(), "its storm may end before it is mended");
    }
}
