//! The inventory service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::lifecycle::run("inventory", inventory::process::run)
}
