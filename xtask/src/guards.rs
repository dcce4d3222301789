//! Guards: each rule that keeps the promises stands on a line of its own. For each, a committed patch
//! takes that line out of the shipped code, and the same unedited test must then fail. The rules of the protocol
//! itself have a fault besides ([`storms`]): without the rule, its storm breaks a promise.

mod storms;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;

use crate::engines::{Durability, Engines};
use crate::run::{Outcome, cargo, root, target, to_end};
pub(crate) use storms::run as run_storms;

/// Lines shown of what a test said that should have failed otherwise.
const SHOWN_LINES: usize = 60;

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
    /// Whether the test needs engines, and is left out where there are none.
    #[serde(default)]
    engines: bool,
}

/// Whether a name contains one of the parts that are asked for, with commas between them.
fn is_asked_for(only: Option<&str>, name: &str) -> bool {
    only.is_none_or(|parts| parts.split(',').any(|part| name.contains(part)))
}

/// Tries every guard that is asked for.
pub(crate) fn run(only: Option<&str>) -> Outcome {
    let index = Index::read()?;
    let chosen: Vec<_> = index.guard.iter().filter(|g| is_asked_for(only, &g.name)).collect();
    let tree = target().join("guards-tree");
    copy_tree(&tree)?;
    let needed = chosen.iter().any(|guard| guard.engines);
    let engines = if needed { Some(Engines::start(Durability::Relaxed)?) } else { None };
    let variables = engines.as_ref().map(Engines::test_variables).unwrap_or_default();
    let trial = Trial { tree: &tree, variables: &variables };
    let mut failed = Vec::new();
    // First all of them in place, so that nothing is built twice; then one by one without.
    let in_place: Vec<_> = chosen.iter().map(|guard| trial.test_passes(guard)).collect();
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
    // A copy of every source file should not lie around to be edited by mistake.
    let _ = fs::remove_dir_all(&tree);
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
    /// The guard's test, with the guard removed, must fail: by its assertions, not by the compiler.
    fn without(&self, guard: &Guard) -> Outcome {
        apply(&guard.name, self.tree, false)?;
        let outcome = self.test_passes(guard);
        apply(&guard.name, self.tree, true)?;
        match outcome {
            Ok(()) => Err("with the guard removed the test still passes".into()),
            Err(out) if out.contains("test result: FAILED") => Ok(()),
            Err(out) => Err(format!("with the guard removed the test does not even run:\n{out}")),
        }
    }

    /// Runs the guard's test in the copied tree; the output if it does not pass.
    fn test_passes(&self, guard: &Guard) -> Result<(), String> {
        let mut command = cargo(&["test", "-p", &guard.package]);
        match guard.program.as_str() {
            "lib" => command.arg("--lib"),
            program => command.args(["--test", program]),
        };
        command.args(["--", &guard.test]);
        if guard.engines {
            command.arg("--include-ignored").envs(self.variables.iter().map(|(n, v)| (n, v)));
        }
        command.current_dir(self.tree).env("CARGO_TARGET_DIR", target());
        let Output { status, stdout, stderr } = command.output().map_err(|e| e.to_string())?;
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        let ran = stdout.lines().any(|l| l.starts_with("test ") && l.contains(&guard.test));
        match (status.success(), ran) {
            (true, true) => Ok(()),
            (true, false) => Err(format!("no test is named {}", guard.test)),
            _ => {
                // The compiler's words first: the end, which is what is shown, then says what became of the test.
                Err(String::from_utf8_lossy(&stderr).into_owned() + &stdout)
            }
        }
    }
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

/// Copies what git would commit into `tree`.
fn copy_tree(tree: &Path) -> Outcome {
    let _ = fs::remove_dir_all(tree);
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .map_err(|e| format!("git ls-files: {e}"))?;
    for name in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|n| !n.is_empty()) {
        let (from, to) = (root().join(name), tree.join(name));
        let parent = to.parent().ok_or("a file without a folder")?;
        fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
        if from.is_file() {
            fs::copy(&from, &to).map_err(|e| format!("{}: {e}", from.display()))?;
        }
    }
    Ok(())
}
