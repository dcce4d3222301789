//! Power cuts, simulated from what the platform really asked of the disk.
//!
//! The release binary runs under `strace` while orders come in. The trace holds every write, sync and
//! answer, with its time. From it follows, without any help of the platform's:
//!
//! - whether each 202 was sent after the end of a sync that began after the write of its message;
//! - what a disk would hold after a power cut at any moment: all that was synced, and of the rest an
//!   arbitrary part, torn within pages. The platform is started on such disks, and every 202 that had
//!   left before the cut must be there.

mod disk;
mod trace;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;

use crate::platform::Platform;
use crate::process::Owned;
use crate::run::{Outcome, is_there, pause, release, to_end};
use crate::subject::Subject;
use disk::Disk;
use trace::Trace;

/// `cargo xtask power-cuts`.
#[derive(Args)]
pub(crate) struct Options {
    /// How many cuts.
    #[arg(long, default_value_t = 100)]
    cuts: u32,
    /// Orders of the traced storm.
    #[arg(long, default_value_t = 1_500)]
    orders: u32,
    /// Decides when the cuts come and what they tear.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Traces one storm, checks its 202s, then cuts.
pub(crate) fn run(options: &Options) -> Outcome {
    if !is_there("strace") {
        return Err("this needs strace".into());
    }
    let folder = release()?;
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (data, journal) = (home.path().join("data"), home.path().join("journal"));
    let trace = traced_storm(&folder, home.path(), &data, &journal, options)?;
    let answered = check_order(&trace)?;
    let mut random = Random(options.seed);
    let (first, last) = trace.span_of_answers().ok_or("the trace holds no 202")?;
    for n in 1..=options.cuts {
        let cut_at = first + random.below(last - first + 1);
        let disk = Disk::at(&trace, cut_at, &mut random);
        let kept = judge(&folder, home.path(), &journal, &disk, &answered, cut_at)
            .map_err(|why| format!("cut {n} of {}: {why}", options.cuts))?;
        println!("   cut {n:3}: {kept} orders had been accepted, all are there; {}", disk.loss());
    }
    println!("{} power cuts, none lost an accepted order", options.cuts);
    Ok(())
}

fn traced_storm(
    folder: &Path,
    home: &Path,
    data: &Path,
    journal: &Path,
    options: &Options,
) -> Outcome<Trace> {
    let calls = "trace=pwrite64,write,writev,sendto,sendmsg,fdatasync,fsync,ftruncate,unlink";
    let prefix = home.join("trace");
    let wrapper: Vec<String> =
        ["strace", "-ff", "-ttt", "-T", "-y", "-xx", "-s", "1000000", "-e", calls, "-o"]
            .iter()
            .map(|s| (*s).to_owned())
            .chain([prefix.display().to_string()])
            .collect();
    let mut platform = Platform::new(&folder.join("seckill"), data)?.under(wrapper);
    platform.start()?;
    platform.ready()?;
    let buyers = options.orders.to_string();
    let mut storm = Command::new(folder.join("loadtest"));
    storm.args(["storm", "--no-verdict", "--stock", "100000", "--connections", "48", "--buyers", &buyers]);
    storm.args(["--duration", "600", "--journal"]).arg(journal).args(platform.target_arguments());
    storm.stdout(Stdio::null());
    let mut storm = Owned::start(storm)?;
    let status = storm.wait()?;
    if !status.success() {
        return Err(format!("the traced storm ended with {status}"));
    }
    if let Some(pid) = platform.pid() {
        // strace passes on what it is told; the platform then closes its files in order.
        to_end(Command::new("kill").args(["-TERM", &pid.to_string()]))?;
        pause(std::time::Duration::from_secs(2));
    }
    platform.kill();
    Trace::read(home, "trace.", data)
}

/// Every 202 was sent after the end of a sync that began after its message was written. Answers with
/// each order's time of answer.
fn check_order(trace: &Trace) -> Outcome<HashMap<String, u64>> {
    let safe = trace.messages_safe_at();
    let mut answered = HashMap::new();
    for (order, sent_at) in trace.answers() {
        if safe.get(order).is_none_or(|safe_at| *safe_at > sent_at) {
            return Err(format!("the 202 of {order} left before a sync of its message had ended"));
        }
        answered.entry(order.to_owned()).or_insert(sent_at);
    }
    println!("   {} answers of 202: each left after the sync that holds its message", answered.len());
    Ok(answered)
}

/// Starts the platform on the disk and has the journal's entries up to the cut judged.
fn judge(
    folder: &Path,
    home: &Path,
    journal: &Path,
    disk: &Disk,
    answered: &HashMap<String, u64>,
    cut_at: u64,
) -> Outcome<usize> {
    let data = home.join("after-the-cut");
    let _ = fs::remove_dir_all(&data);
    disk.write(&data)?;
    let whole = fs::read_to_string(journal).map_err(|e| e.to_string())?;
    let mut lines = whole.lines();
    let head = lines.next().unwrap_or_default();
    let before: Vec<&str> = lines
        .filter(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let order = entry["order"].as_str().unwrap_or_default();
            answered.get(order).is_some_and(|sent_at| *sent_at <= cut_at)
        })
        .collect();
    let part = home.join("journal-before-the-cut");
    fs::write(&part, format!("{head}\n{}\n", before.join("\n"))).map_err(|e| e.to_string())?;
    let mut platform = Platform::new(&folder.join("seckill"), &data)?;
    platform.start()?;
    platform.ready()?;
    let mut verdict = Command::new(folder.join("loadtest"));
    verdict.arg("verdict").arg("--journal").arg(&part).args(platform.target_arguments());
    let output = verdict.output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(before.len());
    }
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stdout)))
}

/// A small generator (xorshift64*): cuts are to be repeatable, not unguessable.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}
