//! The flash-sale platform in one process.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
