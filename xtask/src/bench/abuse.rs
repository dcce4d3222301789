//! `cargo xtask bench abuse`: what an honest visitor sees while others storm one sale, dawdle on thousands of
//! connections, or come under millions of names; and what that costs in memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::gateway::{new_sale, sold_out_sale};
use crate::http::{bearer, exchange};
use crate::platform::Platform;
use crate::process::Owned;
use crate::run::{Outcome, pause, release, to_end, wait_for};
use crate::subject::{ADMIN_TOKEN, Subject};

/// Length of one probe, in seconds.
const PROBE_S: u32 = 15;
/// What a sale with a limit lets through a second, and how many come.
const LIMIT_PER_S: u32 = 1_000;
const OFFERED_PER_S: u32 = 10 * LIMIT_PER_S;
/// Connections that dawdle.
const SLOW: u32 = 2_000;
/// Time a header or a body may take here, in milliseconds.
const PATIENCE_MS: u32 = 3_000;
/// Distinct names and addresses.
const BUYERS: u32 = 1_000_000;
const ADDRESSES: u32 = 10_000_000;
/// How long memory may take to come back, in seconds.
const COME_BACK_S: u64 = 30;

pub(super) fn run() -> Outcome {
    let bench = Bench::start()?;
    println!("machine: {}", super::machine());
    println!("what an honest visitor sees, p99 in ms (150 visits a second in all, for {PROBE_S} s each)\n");
    println!("{:<48} {:>8} {:>8} {:>8} {:>8}", "", "page", "gate", "ticket", "order");
    let idle = bench.probe("idle")?;

    let storm = bench.wrk(&bench.gone)?;
    let during = bench.probe("a sold-out sale stormed as fast as wrk can")?;
    drop(storm);
    judge(&idle, &during);

    let rate = OFFERED_PER_S.to_string();
    let arguments = [
        "storm",
        "--sale",
        "hot",
        "--rate",
        &rate,
        "--connections",
        "512",
        "--patience-s",
        "1",
        "--no-verdict",
    ];
    let storm = bench.pinned(&arguments, PROBE_S + 5, None)?;
    bench.stormed()?;
    let during = bench.probe(&format!("a sale of {LIMIT_PER_S}/s asked {OFFERED_PER_S} times a second"))?;
    drop(storm);
    judge(&idle, &during);

    let slow = bench.home.path().join("slow.json");
    let connections = SLOW.to_string();
    let mut dawdlers = bench.loadtest(
        &["slow", "--sale", "fair", "--connections", &connections],
        PROBE_S + 5,
        Some(&slow),
    )?;
    bench.crowded()?;
    let during = bench.probe(&format!("{SLOW} connections that dawdle"))?;
    dawdlers.wait()?;
    judge(&idle, &during);
    let told = read(&slow)?;
    println!(
        "  slow headers {}, slow bodies {} (each may take {PATIENCE_MS} ms)",
        told["headers"], told["bodies"]
    );
    bench.keys()
}

/// Prints whether an honest visitor's p99 stays within twice the idle one, or 5 ms.
fn judge(idle: &Value, during: &Value) {
    let over: Vec<String> = ["page", "gate", "ticket", "order"]
        .into_iter()
        .filter_map(|kind| {
            let ms = |of: &Value| of[kind]["p99_ms"].as_f64().unwrap_or(f64::INFINITY);
            let most = (2.0 * ms(idle)).max(5.0);
            (ms(during) > most).then(|| format!("{kind} {:.1} > {most:.1} ms", ms(during)))
        })
        .collect();
    let verdict = if over.is_empty() { String::from("yes") } else { format!("no: {}", over.join(", ")) };
    println!("  within twice the idle one, or 5 ms: {verdict}");
}

/// The platform, its three sales, and who plays there.
struct Bench {
    home: tempfile::TempDir,
    folder: PathBuf,
    platform: Platform,
    gone: String,
}

impl Bench {
    fn start() -> Outcome<Self> {
        let folder = release()?;
        let home = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut platform = Platform::new(&folder.join("seckill"), &home.path().join("data"))?;
        let patience = PATIENCE_MS.to_string();
        for (name, value) in [
            ("SECKILL_ADDRESS_LIMIT", "200/1"),
            ("SECKILL_TRUSTED_PROXIES", "127.0.0.1"),
            ("SECKILL_HEADER_TIMEOUT_MS", &patience),
            ("SECKILL_BODY_TIMEOUT_MS", &patience),
        ] {
            platform.set(name, value);
        }
        platform.start()?;
        platform.ready()?;
        let gone = sold_out_sale(&folder, &platform)?;
        new_sale(&platform, "fair", 1_000_000)?;
        new_sale(&platform, "hot", 1_000_000)?;
        let limit = json!({"rules": {"sale_limit": format!("{LIMIT_PER_S}/1")}}).to_string();
        let answer =
            exchange(platform.admin_port, "PATCH", "/admin/v1/sales/hot", &bearer(ADMIN_TOKEN), &limit)?;
        if !answer.starts_with("HTTP/1.1 200") {
            return Err(format!("the limit was not taken: {answer}"));
        }
        Ok(Self { home, folder, platform, gone })
    }

    /// A load test that ends by itself, or with its owner.
    fn loadtest(&self, arguments: &[&str], seconds: u32, result: Option<&Path>) -> Outcome<Owned> {
        self.play(Command::new(self.folder.join("loadtest")), arguments, seconds, result)
    }

    /// The same on the last core only.
    fn pinned(&self, arguments: &[&str], seconds: u32, result: Option<&Path>) -> Outcome<Owned> {
        let mut command = last_core();
        command.arg(self.folder.join("loadtest"));
        self.play(command, arguments, seconds, result)
    }

    fn play(
        &self,
        mut command: Command,
        arguments: &[&str],
        seconds: u32,
        result: Option<&Path>,
    ) -> Outcome<Owned> {
        command.args(arguments).args(["--duration", &seconds.to_string()]);
        command.args(self.platform.target_arguments()).stdin(Stdio::null()).stdout(Stdio::null());
        if let Some(result) = result {
            command.arg("--json").arg(result);
        }
        Owned::start(command)
    }

    /// wrk on the last core, until it is dropped.
    fn wrk(&self, buy: &str) -> Outcome<Owned> {
        let script = self.home.path().join("storm.lua");
        let text = "wrk.method=\"POST\"\nwrk.body='{\"ticket\":\"t\",\"quantity\":1}'\n\
                    wrk.headers[\"content-type\"]=\"application/json\"\n";
        std::fs::write(&script, text).map_err(|e| e.to_string())?;
        let mut command = last_core();
        command.args(["wrk", "-t", "1", "-c", "64", "-d", "600s", "-s"]).arg(&script);
        command.arg(format!("http://127.0.0.1:{}{buy}/orders", self.platform.port)).stdout(Stdio::null());
        Owned::start(command)
    }

    /// Visits the sale "fair"; prints and answers what was seen.
    fn probe(&self, during: &str) -> Outcome<Value> {
        let result = self.home.path().join("probe.json");
        let mut probe = self.loadtest(&["probe", "--sale", "fair"], PROBE_S, Some(&result))?;
        if !probe.wait()?.success() {
            return Err(format!(
                "{during}: an honest visitor was turned away: {}",
                read(&result).unwrap_or_default()
            ));
        }
        let seen = read(&result)?;
        let p99 = |kind: &str| seen[kind]["p99_ms"].as_f64().unwrap_or(f64::NAN);
        let (page, gate, ticket, order) = (p99("page"), p99("gate"), p99("ticket"), p99("order"));
        println!("{during:<48} {page:>8.2} {gate:>8.2} {ticket:>8.2} {order:>8.2}");
        Ok(seen)
    }

    /// Waits until the hot sale refuses.
    fn stormed(&self) -> Outcome {
        let refused = "gateway_purchase_refused_total{step=\"ticket\",code=\"rate_limited\"}";
        wait_for("the hot sale refusing", Duration::from_secs(20), || self.metric(refused) > 100.0)
            .map(|_| ())
    }

    /// Waits until the dawdlers are there.
    fn crowded(&self) -> Outcome {
        let there = || self.platform.connections() >= usize::try_from(SLOW).unwrap_or(0) * 9 / 10;
        wait_for("the dawdlers", Duration::from_secs(20), there).map(|_| ())
    }

    fn metric(&self, name: &str) -> f64 {
        let text = crate::http::get(self.platform.admin_port, "/metrics", ADMIN_TOKEN).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0.0)
    }

    /// Millions of names and addresses, and the memory before, with and after them.
    fn keys(&self) -> Outcome {
        let before = self.resident_mb()?;
        let (buyers, addresses) = (BUYERS.to_string(), ADDRESSES.to_string());
        let mut flood = Command::new(self.folder.join("loadtest"));
        flood.args(["flood", "--sale", "fair", "--buyers", &buyers, "--addresses", &addresses]);
        flood.args(self.platform.target_arguments());
        to_end(&mut flood)?;
        let with = self.resident_mb()?;
        self.probe("after the flood")?;
        for _ in 0..COME_BACK_S {
            pause(Duration::from_secs(1));
        }
        let after = self.resident_mb()?;
        println!(
            "resident memory, MB: {before:.0} before {BUYERS} buyers and {ADDRESSES} addresses, {with:.0} with them, \
             {after:.0} after {COME_BACK_S} s"
        );
        Ok(())
    }

    fn resident_mb(&self) -> Outcome<f64> {
        let pid = self.platform.pid().ok_or("the platform does not run")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| e.to_string())?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        let kb = line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).ok_or("no VmRSS")?;
        Ok(kb / 1024.0)
    }
}

/// A command that stays on the last core, and gives way there: elsewhere it would be another machine, and the
/// platform and the honest visitor would not have to wait for its time slices.
fn last_core() -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new("nice");
    command.args(["-n", "10", "taskset", "-c", &(cores - 1).to_string()]);
    command
}

fn read(file: &Path) -> Outcome<Value> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))
}
