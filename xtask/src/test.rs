//! Every test: of the crates, of the shop, of the files that install it, of the house.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::engines::{Durability, Engines};
use crate::process;
use crate::run::{Outcome, cargo, is_there, root};

/// The test files in a folder, which node runs.
fn node_tests(folder: &str) -> Outcome<Vec<PathBuf>> {
    let folder = root().join(folder);
    let listed = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let files = listed.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    Ok(files.filter(|path| path.to_string_lossy().ends_with(".test.mjs")).collect())
}

/// Runs all of them, those of adapters against private engines; the first that fails ends it.
pub(crate) fn run() -> Outcome {
    println!("== private engines");
    let engines = Engines::start(Durability::Relaxed)?;
    println!("== crates, services and house rules");
    let mut tests = cargo(&["test", "--workspace", "--quiet", "--", "--include-ignored"]);
    tests.envs(engines.test_variables());
    process::to_end(tests)?;
    println!("== the shop, and what installs it");
    if is_there("node") {
        let mut node = Command::new("node");
        // File by file: what a folder means has changed between versions.
        node.arg("--test").args(node_tests("static-cdn/tests")?).args(node_tests("infra/tests")?);
        node.current_dir(root());
        process::to_end(node)?;
    } else {
        println!("node is not installed: the tests of static-cdn and infra were left out");
    }
    println!("== every test passed");
    Ok(())
}
