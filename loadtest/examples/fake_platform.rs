//! The tests' fake platform on a port of its own, to try the load test out and to measure what its
//! generator costs. Prints its URL; runs until standard input ends.

#[path = "../tests/fake/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod fake;

use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let fake = fake::Fake::start(fake::Lie::None);
    writeln!(std::io::stdout(), "{} (admin token: admin)", fake.url())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
