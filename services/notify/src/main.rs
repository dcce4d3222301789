//! The notify service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::lifecycle::run("notify", notify::process::run)
}
