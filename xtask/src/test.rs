//! Every test: of the crates, of the shop, of the house.

use std::process::Command;

use crate::engines::{Durability, Engines};
use crate::process;
use crate::run::{Outcome, cargo, is_there, root};

/// Runs all of them, those of adapters against private engines; the first that fails ends it.
pub(crate) fn run() -> Outcome {
    println!("== private engines");
    let engines = Engines::start(Durability::Relaxed)?;
    println!("== crates, services and house rules");
    let mut tests = cargo(&["test", "--workspace", "--quiet", "--", "--include-ignored"]);
    tests.envs(engines.test_variables());
    process::to_end(tests)?;
    println!("== the shop");
    if is_there("node") {
        let mut node = Command::new("node");
        node.args(["--test", "static-cdn/tests/"]).current_dir(root());
        process::to_end(node)?;
    } else {
        println!("node is not installed: the shop's module tests were left out");
    }
    println!("== every test passed");
    Ok(())
}
