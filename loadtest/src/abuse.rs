//! What a platform must bear without its honest visitors noticing: floods of made-up names and addresses, and
//! connections that dawdle. Beside them a probe tells what an honest visitor sees meanwhile.

mod flood;
mod probe;
mod slow;

pub(crate) use flood::run as flood;
pub(crate) use probe::run as probe;
pub(crate) use slow::run as slow;

use std::path::Path;

use serde_json::Value;

use crate::error::RunError;

/// Writes a result for machines, if a file was named.
fn publish(result: &Value, file: Option<&Path>) -> std::io::Result<()> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, serde_json::to_vec_pretty(result)?)
}

fn no_secret() -> RunError {
    RunError::Setup("--jwt-secret is needed: nobody can log in that often".into())
}

fn closed(sale: &str) -> RunError {
    RunError::Setup(format!("the sale {sale} is not open: its gate shows no buy path"))
}
