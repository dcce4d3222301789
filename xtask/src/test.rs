//! Every test: of the crates, of the shop, of the house.

use std::process::Command;

use crate::run::{Outcome, cargo, is_there, root, to_end};

/// Runs all of them; the first that fails ends it.
pub(crate) fn run() -> Outcome {
    println!("== crates, services and house rules");
    to_end(&mut cargo(&["test", "--workspace", "--quiet"]))?;
    println!("== the shop");
    if is_there("node") {
        let mut node = Command::new("node");
        to_end(node.args(["--test", "static-cdn/tests/"]).current_dir(root()))?;
    } else {
        println!("node is not installed: the shop's module tests were left out");
    }
    println!("== every test passed");
    Ok(())
}
