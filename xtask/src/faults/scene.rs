//! Where a fault strikes: the platform with a storm on it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Fault;
use super::evidence::Effect;
use crate::process::{Owned, leashed};
use crate::proxy::Proxy;
use crate::run::{Outcome, pause, wait_for};
use crate::stack::{Engine, Role, Stack};
use crate::subject::Subject;

/// Connections of the storm.
const CONNECTIONS: &str = "256";
/// Journal lines after which a storm is in full swing.
const RISEN_LINES: usize = 1_000;
/// How long that may take.
const RISE_S_MAX: Duration = Duration::from_secs(60);
/// Of a hundred buyers so many come back for one more than they may have.
const AGAIN_PERCENT: &str = "20";
/// What a storm must still have before it when a fault has been mended: it may take 5 s until something is sold again, and
/// then somebody must be there to buy.
const STORM_LEFT: Duration = Duration::from_secs(6);
/// How the journal's last line begins.
const FOOT: &[u8] = br#"{"demand""#;

/// The platform with a storm on it.
pub(crate) struct Scene<'a> {
    pub(crate) stack: &'a mut Stack,
    pub(super) sale: String,
    /// Connections of buyers when the fault struck.
    pub(super) connections: usize,
    /// What the fault itself has seen of its effects.
    noted: Vec<(Effect, f64)>,
    journal: PathBuf,
    /// Since when it has been selling.
    selling: Option<Instant>,
    random: u64,
}

/// The storm at the moment when the fault had been mended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mended {
    /// Orders in the journal.
    pub(super) accepted: usize,
    /// Whether new buyers were still to come for a while.
    pub(super) in_time: bool,
}

impl<'a> Scene<'a> {
    /// A platform on which this journal's storm plays.
    pub(super) fn new(stack: &'a mut Stack, journal: &Path, seed: u32) -> Self {
        let random = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let (sale, journal) = (String::new(), journal.to_path_buf());
        Self { stack, sale, connections: 0, noted: Vec::new(), journal, selling: None, random }
    }

    /// A number below `n`, decided by the seed (xorshift64*).
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) % n.max(1)
    }

    /// The `n`th service of this role, counted from 0.
    pub(crate) fn service(&mut self, role: Role, n: usize) -> Outcome<&mut crate::server::Server> {
        let found = self.stack.of(role).nth(n);
        found.map(|service| &mut service.server).ok_or_else(|| format!("there is no {role:?} {n}"))
    }

    /// The proxy between services of this role and this engine.
    pub(crate) fn wire(&self, role: Role, engine: Engine) -> Outcome<&Proxy> {
        self.stack.wires.as_ref().ok_or("this platform has no proxies")?.of(role, engine)
    }

    /// Starts the storm.
    pub(super) fn storm(&self, loadtest: &Path, fault: &Fault, seed: u32, result: &Path) -> Outcome<Owned> {
        let _ = std::fs::remove_file(&self.journal);
        let mut storm = leashed(loadtest, None)?;
        storm.args(["storm", "--no-verdict", "--stock", &fault.stock.to_string()]);
        storm.args(["--connections", CONNECTIONS, "--again-percent", AGAIN_PERCENT]);
        let (length, patience) = (fault.storm_s.to_string(), fault.patience_s.to_string());
        storm.args(["--open-in-s", "1", "--patience-s", &patience, "--duration", &length]);
        storm.args(["--seed", &seed.to_string()]);
        storm.arg("--journal").arg(&self.journal).arg("--json").arg(result);
        let words = self.words();
        let out = File::create(&words).map_err(|e| format!("{}: {e}", words.display()))?;
        storm.args(self.stack.target_arguments()).stdin(Stdio::null()).stdout(out);
        Owned::start(storm)
    }

    /// Where the storm's own words are.
    fn words(&self) -> PathBuf {
        self.journal.with_extension("txt")
    }

    /// Connections that have broken so far: the storm tells every second how many more, at the end of a line.
    pub(super) fn broken_so_far(&self) -> f64 {
        let words = std::fs::read_to_string(self.words()).unwrap_or_default();
        let told = |line: &str| line.rsplit_once(" errors ")?.1.trim().parse::<f64>().ok();
        words.lines().filter_map(told).sum::<f64>() + 0.0
    }

    /// Waits until the storm is in full swing, then for a moment that the seed decides.
    pub(super) fn risen(&mut self, storm: &mut Owned) -> Outcome {
        let journal = self.journal.clone();
        let (mut alive, mut selling) = (true, None);
        wait_for("the storm rising", RISE_S_MAX, || {
            alive = storm.is_running();
            let written = lines(&journal);
            if written > 1 && selling.is_none() {
                selling = Some(Instant::now());
            }
            !alive || written > RISEN_LINES
        })?;
        self.selling = selling;
        if !alive {
            return Err("the storm ended before it rose".into());
        }
        let head = std::fs::read_to_string(&self.journal).unwrap_or_default();
        let head: Value = serde_json::from_str(head.lines().next().unwrap_or_default()).unwrap_or_default();
        self.sale = head["sale"].as_str().ok_or("the journal has no head")?.to_owned();
        pause(Duration::from_millis(self.below(1_000)));
        Ok(())
    }

    /// What the ledger holds of the storm's sale.
    pub(crate) fn ledger(&self) -> Outcome<Value> {
        self.stack.admin_get(&format!("/admin/v1/sales/{}/ledger", self.sale))
    }

    /// The generation of the sale's stock, as the ledger has it.
    pub(crate) fn epoch(&self) -> Outcome<u64> {
        let ledger = self.ledger()?;
        ledger["epoch"].as_u64().ok_or_else(|| format!("the ledger tells no epoch: {ledger}"))
    }

    /// Counts the buyers' connections of this moment.
    pub(super) fn count_connections(&mut self) {
        self.connections = self.stack.connections();
    }

    /// Notes so much more of an effect, seen by the fault itself.
    pub(super) fn note(&mut self, effect: Effect, amount: f64) {
        self.noted.push((effect, amount));
    }

    /// What was noted of this effect.
    pub(super) fn noted(&self, effect: Effect) -> f64 {
        let its = self.noted.iter().filter(|(of, _)| *of == effect);
        // The sum of nothing is -0.
        its.map(|(_, amount)| amount).sum::<f64>() + 0.0
    }

    /// How far the storm is, now that this fault has been mended.
    pub(super) fn mended(&self, fault: &Fault) -> Mended {
        let storm = Duration::from_secs(fault.storm_s.into());
        let in_time = self.selling.is_some_and(|since| since.elapsed() + STORM_LEFT <= storm);
        Mended { accepted: self.accepted(), in_time }
    }

    /// Orders in the journal so far.
    pub(super) fn accepted(&self) -> usize {
        lines(&self.journal).saturating_sub(1)
    }
}

fn lines(journal: &Path) -> usize {
    let text = std::fs::read(journal).unwrap_or_default();
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// Whether what the journal has from this place on is its foot alone: written when all is over, and no 202.
fn is_foot(journal: &Path, from: u64) -> bool {
    let begin = || -> std::io::Result<[u8; FOOT.len()]> {
        let (mut file, mut begin) = (File::open(journal)?, [0; FOOT.len()]);
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut begin).map(|()| begin)
    };
    begin().is_ok_and(|begin| begin == FOOT)
}

/// Watches the journal grow, and keeps the longest time in which it did not.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Watch {
    /// Begins now.
    pub(super) fn begin(journal: &Path) -> Self {
        let (journal, stop) = (journal.to_path_buf(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let length = || std::fs::metadata(&journal).map_or(0, |m| m.len());
            let (mut last, mut since, mut longest) = (length(), Instant::now(), Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                pause(Duration::from_millis(10));
                let now = length();
                if now != last {
                    if !is_foot(&journal, last) {
                        longest = longest.max(since.elapsed());
                    }
                    (last, since) = (now, Instant::now());
                }
            }
            longest
        });
        Self { stop, thread }
    }

    /// The longest time without a 202, up to the last one.
    pub(super) fn end(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
