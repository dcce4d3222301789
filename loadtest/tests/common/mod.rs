//! Running the program against a fake platform, and reading its result.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its program has failed")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A finished run.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code.
    pub(crate) code: i32,
    /// What was printed.
    pub(crate) text: String,
    /// The JSON result; null when there is none.
    pub(crate) json: Value,
}

/// Runs `loadtest <subcommand>` against this URL with these further arguments.
pub(crate) fn run(subcommand: &str, url: &str, more: &[&str]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("result.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg(subcommand)
        .args(["--against", url, "--admin", url, "--admin-token", "admin", "--json"])
        .arg(&json)
        .args(more)
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Run { code: output.status.code().unwrap(), text, json: read(&json) }
}

fn read(path: &Path) -> Value {
    std::fs::read(path).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap())
}

impl Run {
    /// The promises that were broken.
    pub(crate) fn broken(&self) -> Vec<&str> {
        let promises = self.json["promises"].as_array().map(Vec::as_slice).unwrap_or_default();
        promises.iter().filter(|p| p["held"] == false).filter_map(|p| p["promise"].as_str()).collect()
    }

    /// Asserts that the verdict passed.
    pub(crate) fn passed(&self) {
        assert_eq!((self.code, self.broken()), (0, vec![]), "{}", self.text);
    }

    /// Asserts that the verdict failed on this promise.
    pub(crate) fn failed_on(&self, promise: &str) {
        assert_eq!(self.code, 1, "{}", self.text);
        assert!(self.broken().contains(&promise), "{}", self.text);
        assert!(self.text.contains("FAILED"), "{}", self.text);
    }
}
