//! What storms are played against: a platform with two doors, in one process or in many.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::http::{bearer, exchange, get, json_of_success};
use crate::run::Outcome;

/// Secrets of private platforms: known to the load test that storms them.
pub(crate) const JWT_SECRET: &str = "private-platform-jwt-secret";
pub(crate) const ADMIN_TOKEN: &str = "private-platform-admin-token";
pub(crate) const WEBHOOK_SECRET: &str = "private-platform-webhook-secret";

/// Lines by which a storm's journal must have grown since some moment, to show that something was sold after it: of what
/// was sold before, up to 64 are written later, all at once; a journal that is done has a foot; and one more.
pub(crate) const SOLD_SINCE_LINES_MIN: u16 = 64 + 1 + 1;

/// The settings that every private platform has.
pub(crate) fn common_settings() -> Vec<(String, String)> {
    [
        ("SECKILL_JWT_SECRET", JWT_SECRET.to_owned()),
        ("SECKILL_ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
        ("SECKILL_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ("SECKILL_TICKET_KEYS", format!("k1:{}", "5e".repeat(32))),
        // One client machine plays everybody: limits per sale and address would measure themselves.
        ("SECKILL_SALE_LIMIT", "off".into()),
        ("SECKILL_ADDRESS_LIMIT", "off".into()),
        ("SECKILL_LOG", "warn".into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// A bearer token of this buyer that private platforms believe, from the load test in this folder.
pub(crate) fn token(folder: &Path, buyer: &str) -> Outcome<String> {
    let mut command = Command::new(folder.join("loadtest"));
    let output = command.args(["token", buyer, "--jwt-secret", JWT_SECRET]).output();
    let output = output.map_err(|e| format!("loadtest: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A platform that was started here, and stops with its owner.
pub(crate) trait Subject {
    /// Where buyers come in.
    fn port(&self) -> u16;

    /// Where operators come in.
    fn admin_port(&self) -> u16;

    /// The ports whose established connections are buyers'.
    fn buyers_ports(&self) -> Vec<u16>;

    /// Adds a setting, for the next start.
    fn set(&mut self, name: &str, value: &str);

    /// Starts all of it; does not wait for anything.
    fn start(&mut self) -> Outcome;

    /// Waits until it is ready; answers how long that took.
    fn ready(&mut self) -> Outcome<Duration>;

    /// Kills all of it, as `kill -9` does.
    fn kill(&mut self);

    /// Client connections open now.
    fn connections(&self) -> usize {
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let ports: Vec<String> = self.buyers_ports().iter().map(|port| format!(":{port:04X}")).collect();
        // Local address ends with our port, state 01 is ESTABLISHED.
        table
            .lines()
            .skip(1)
            .filter(|line| {
                let mut fields = line.split_whitespace().skip(1);
                let (local, _, state) = (fields.next(), fields.next(), fields.next());
                local.is_some_and(|l| ports.iter().any(|port| l.ends_with(port))) && state == Some("01")
            })
            .count()
    }

    /// Arguments that point the load test at this platform.
    fn target_arguments(&self) -> Vec<String> {
        [
            "--against",
            &format!("http://127.0.0.1:{}", self.port()),
            "--admin",
            &format!("http://127.0.0.1:{}", self.admin_port()),
            "--admin-token",
            ADMIN_TOKEN,
            "--jwt-secret",
            JWT_SECRET,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// An operators' `GET`: the body. An answer other than a success is an error.
    fn admin_get(&self, path: &str) -> Outcome<Value> {
        json_of_success(&get(self.admin_port(), path, ADMIN_TOKEN)?)
    }

    /// An operators' `POST`: the body, likewise.
    fn admin_post(&self, path: &str, body: &Value) -> Outcome<Value> {
        json_of_success(&exchange(self.admin_port(), "POST", path, &bearer(ADMIN_TOKEN), &body.to_string())?)
    }

    /// A buyers' `GET`: the body, likewise.
    fn public_get(&self, path: &str) -> Outcome<Value> {
        json_of_success(&get(self.port(), path, "")?)
    }
}
