//! Guards: each rule that keeps the promises stands on a line of its own. For each, a committed patch
//! takes that line out of the shipped code, and the same unedited test must then fail. The rules of the protocol
//! itself have a fault besides ([`storms`]): without the rule, its storm breaks a promise.

mod storms;

use std::fs;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::engines::{Durability, Engines};
use crate::process::Owned;
use crate::run::{Outcome, cargo, root, target, to_end};
pub(crate) use storms::run as run_storms;

/// Lines shown of what a test said that should have failed otherwise.
const SHOWN_LINES: usize = 60;
/// The longest that one test may run, once it is built: one that waits for ever without its guard says nothing.
const TEST_TIME_MAX: Duration = Duration::from_mins(5);

#[derive(Deserialize)]
struct Index {
    guard: Vec<Guard>,
    storm: Vec<storms::Storm>,
}

impl Index {
    fn read() -> Outcome<Self> {
        let text =
            fs::read_to_string(folder().join("guards.toml")).map_err(|e| format!("guards.toml: {e}"))?;
        toml::from_str(&text).map_err(|e| format!("guards.toml: {e}"))
    }
}

/// Where the copied tree is built. Apart from everything else: cargo takes a copy for the original, and what was built of
/// it, in a run that was cut off, for up to date.
fn built_in() -> PathBuf {
    target().join("guards")
}

/// Where the patches are.
fn folder() -> PathBuf {
    root().join("xtask/guards")
}

/// One guard: `xtask/guards/<name>.patch`.
#[derive(Deserialize)]
struct Guard {
    name: String,
    /// What it guards, in a sentence.
    rule: String,
    /// The package whose test sees it.
    package: String,
    /// Which of its test programs: `lib`, or the name of a file or folder in `tests/`.
    program: String,
    /// The test's name.
    test: String,
    /// Further tests of the package that see it too: program and name.
    #[serde(default)]
    also: Vec<[String; 2]>,
    /// Whether the tests need engines, and are left out where there are none.
    #[serde(default)]
    engines: bool,
}

impl Guard {
    /// All its tests: program and name.
    fn tests(&self) -> impl Iterator<Item = (&str, &str)> {
        let first = std::iter::once((self.program.as_str(), self.test.as_str()));
        first.chain(self.also.iter().map(|[program, test]| (program.as_str(), test.as_str())))
    }
}

/// Whether a name contains one of the parts that are asked for, with commas between them.
fn is_asked_for(only: Option<&str>, name: &str) -> bool {
    only.is_none_or(|parts| parts.split(',').any(|part| name.contains(part)))
}

/// Tries every guard that is asked for.
pub(crate) fn run(only: Option<&str>) -> Outcome {
    let index = Index::read()?;
    let chosen: Vec<_> = index.guard.iter().filter(|g| is_asked_for(only, &g.name)).collect();
    let tree = Tree::copy()?;
    let needed = chosen.iter().any(|guard| guard.engines);
    let engines = if needed { Some(Engines::start(Durability::Relaxed)?) } else { None };
    let variables = engines.as_ref().map(Engines::test_variables).unwrap_or_default();
    let trial = Trial { tree: &tree.0, variables: &variables };
    let mut failed = Vec::new();
    // First all of them in place, so that nothing is built twice; then one by one without.
    let in_place = trial.in_place(&chosen);
    for (guard, in_place) in chosen.iter().zip(in_place) {
        let verdict = match in_place {
            Ok(()) => trial.without(guard),
            Err(out) => Err(format!("with every guard in place its test fails:\n{out}")),
        };
        println!("{:4} {:28} {}", if verdict.is_ok() { "ok" } else { "FAIL" }, guard.name, guard.rule);
        if let Err(why) = verdict {
            let lines: Vec<_> = why.lines().collect();
            println!("     {}", lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n"));
            failed.push(guard.name.as_str());
        }
    }
    match (chosen.is_empty(), failed.is_empty()) {
        (true, _) => Err("no guard has such a name".into()),
        (_, true) => {
            println!("{} guards: with each removed, its test fails", chosen.len());
            Ok(())
        }
        _ => Err(format!("these guards are not guarded: {}", failed.join(", "))),
    }
}

/// Where tests run, and what they are told.
struct Trial<'a> {
    tree: &'a Path,
    variables: &'a [(&'static str, String)],
}

impl Trial<'_> {
    /// What each guard's tests say with all guards in place. A line for every package: all of them take a while.
    fn in_place(&self, guards: &[&Guard]) -> Vec<Result<(), String>> {
        let mut told = Vec::with_capacity(guards.len());
        for its in guards.chunk_by(|one, next| one.package == next.package) {
            let (package, began, first) = (&its[0].package, Instant::now(), told.len());
            for guard in its {
                told.push(
                    guard.tests().try_for_each(|(program, test)| self.test_passes(guard, program, test)),
                );
            }
            let failed = told[first..].iter().filter(|one| one.is_err()).count();
            let (seconds, guards) = (began.elapsed().as_secs(), its.len());
            println!("in place: {package}, {guards} guards in {seconds} s; the tests of {failed} fail");
        }
        told
    }

    /// Each of the guard's tests, with the guard removed, must fail: by its assertions, not by the compiler.
    fn without(&self, guard: &Guard) -> Outcome {
        apply(&guard.name, self.tree, false)?;
        let told: Vec<_> =
            guard.tests().map(|(program, test)| (test, self.test_passes(guard, program, test))).collect();
        apply(&guard.name, self.tree, true)?;
        told.into_iter().try_for_each(|(test, outcome)| match outcome {
            Ok(()) => Err(format!("with the guard removed the test still passes: {test}")),
            Err(out) if out.contains("test result: FAILED") => Ok(()),
            Err(out) => Err(format!("with the guard removed the test does not even run: {test}\n{out}")),
        })
    }

    /// Runs one of the guard's tests in the copied tree; the output if it does not pass.
    fn test_passes(&self, guard: &Guard, program: &str, test: &str) -> Result<(), String> {
        let built = self.cargo_test(guard, program).arg("--no-run").output().map_err(|e| e.to_string())?;
        if !built.status.success() {
            return Err(String::from_utf8_lossy(&built.stderr).into_owned());
        }
        let mut command = self.cargo_test(guard, program);
        command.args(["--", test]);
        if guard.engines {
            command.arg("--include-ignored").envs(self.variables.iter().map(|(n, v)| (n, v)));
        }
        let (passed, said) = within(TEST_TIME_MAX, command)?;
        let ran = said.lines().any(|l| l.starts_with("test ") && l.contains(test));
        match (passed, ran) {
            (true, true) => Ok(()),
            (true, false) => Err(format!("no test is named {test}")),
            _ => Err(said),
        }
    }

    /// `cargo test` of one of a package's programs, as the copied tree has it.
    fn cargo_test(&self, guard: &Guard, program: &str) -> Command {
        let mut command = cargo(&["test", "-p", &guard.package]);
        match program {
            "lib" => command.arg("--lib"),
            program => command.args(["--test", program]),
        };
        command.current_dir(self.tree).env("CARGO_TARGET_DIR", built_in());
        command
    }
}

/// Runs a command for so long at most; whether it succeeded in that time, and all that it said.
fn within(limit: Duration, mut command: Command) -> Outcome<(bool, String)> {
    let mut said = tempfile::tempfile().map_err(|e| e.to_string())?;
    let another = || said.try_clone().map_err(|e| e.to_string());
    command.stdout(another()?).stderr(another()?);
    let mut running = Owned::start(command)?;
    let ended = running.wait_for_end(limit);
    let passed = ended.is_ok() && running.wait()?.success();
    drop(running);
    let mut text = String::new();
    said.rewind().and_then(|()| said.read_to_string(&mut text)).map_err(|e| e.to_string())?;
    ended.err().into_iter().for_each(|why| text.push_str(&why));
    Ok((passed, text))
}

/// Takes a guard out of the tree, or puts it back.
fn apply(guard: &str, tree: &Path, reverse: bool) -> Outcome {
    let patch = folder().join(format!("{guard}.patch"));
    let mut command = Command::new("patch");
    command.args(["--silent", "--forward", "--no-backup-if-mismatch", "-p1", "-i"]).arg(&patch);
    if reverse {
        command.args(["--reverse", "--force"]);
    }
    to_end(command.current_dir(tree)).map_err(|e| format!("{}: {e}", patch.display()))
}

/// A copy of what git would commit. It goes with its owner, however that ends: a copy of every source file should not lie
/// around to be edited by mistake.
struct Tree(PathBuf);

impl Tree {
    fn copy() -> Outcome<Self> {
        let tree = Self(target().join("guards-tree"));
        let _ = fs::remove_dir_all(&tree.0);
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(root())
            .output()
            .map_err(|e| format!("git ls-files: {e}"))?;
        for name in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|n| !n.is_empty()) {
            let (from, to) = (root().join(name), tree.0.join(name));
            let parent = to.parent().ok_or("a file without a folder")?;
            fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
            if from.is_file() {
                fs::copy(&from, &to).map_err(|e| format!("{}: {e}", from.display()))?;
            }
        }
        Ok(tree)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
