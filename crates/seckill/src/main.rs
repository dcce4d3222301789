//! The flash-sale platform in one process.

mod cli;

use std::process::ExitCode;

/// A storm is half a million small, short-lived things a second: see docs/performance.md for what this
/// allocator saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
