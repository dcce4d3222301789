//! The gateway as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::lifecycle::run("gateway", gateway::process::run)
}
