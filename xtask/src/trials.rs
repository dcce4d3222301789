//! Trials: storms against the release binary that end in a verdict, again and again.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::platform::{Platform, WEBHOOK_SECRET};
use crate::process::Owned;
use crate::run::{Outcome, pause, release, to_end, wait_for};

/// Requests that must be under way when the platform is killed, for the run to count.
const IN_FLIGHT_MIN: usize = 100;
/// Time within which a restarted platform must be selling again.
const SELLING_AGAIN_MAX: Duration = Duration::from_secs(5);

/// Which storm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Which {
    /// 20,000 buyers and 2,000 units, played by goose.
    Spike,
    /// The platform is killed in the middle of a storm and started again.
    Kill,
    /// Several units per buyer, to the last one.
    Limits,
    /// Pay, cancel and expire, racing at the deadline.
    Races,
}

/// `cargo xtask trial`.
#[derive(Args)]
pub(crate) struct Options {
    /// Which storm.
    which: Which,
    /// How many runs.
    #[arg(long, default_value_t = 1)]
    runs: u32,
    /// Buyers of a spike.
    #[arg(long, default_value_t = 20_000)]
    buyers: u32,
    /// Units of a spike.
    #[arg(long, default_value_t = 2_000)]
    stock: u32,
}

/// Plays them; the first broken promise ends it.
pub(crate) fn run(options: &Options) -> Outcome {
    let folder = release(&["seckill", "loadtest"])?;
    let loadtest = folder.join("loadtest");
    for n in 1..=options.runs {
        let home = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut platform = Platform::new(&folder.join("seckill"), home.path())?;
        if options.which == Which::Races {
            platform = platform.with("SECKILL_EXPIRE_EVERY_MS", "20");
        }
        platform.start()?;
        platform.ready()?;
        let seed = n.to_string();
        let told = match options.which {
            Which::Spike => {
                let (buyers, stock) = (options.buyers.to_string(), options.stock.to_string());
                let words = ["spike", "--buyers", &buyers, "--stock", &stock, "--seed", &seed];
                play(&loadtest, &platform, &words)
            }
            Which::Limits => play(&loadtest, &platform, &["buyers-limit", "--seed", &seed]),
            Which::Races => {
                let words = ["races", "--webhook-secret", WEBHOOK_SECRET, "--seed", &seed];
                play(&loadtest, &platform, &words)
            }
            Which::Kill => killed(&loadtest, &mut platform, n),
        };
        told.map_err(|why| format!("run {n} of {}: {why}", options.runs))?;
        println!("== run {n} of {} passed", options.runs);
    }
    Ok(())
}

fn play(loadtest: &Path, platform: &Platform, words: &[&str]) -> Outcome {
    to_end(Command::new(loadtest).args(words).args(platform.target_arguments()))
}

/// Kills the platform with a storm in full swing, starts it again, and has the journal judged.
fn killed(loadtest: &Path, platform: &mut Platform, seed: u32) -> Outcome {
    let journal = platform.data.join("journal");
    let journal_word = journal.display().to_string();
    let seed_word = seed.to_string();
    let words = ["storm", "--no-verdict", "--stock", "400000", "--connections", "256", "--duration", "12"];
    let mut storm = Command::new(loadtest);
    storm.args(words).args(["--journal", &journal_word, "--seed", &seed_word, "--patience-s", "30"]);
    storm.args(platform.target_arguments()).stdout(Stdio::null());
    let mut storm = Owned::start(storm)?;
    let lines = || std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
    wait_for("the storm rising", Duration::from_secs(30), || lines() > 2_000)?;
    // Somewhere within the next second and a half, spread over the runs.
    pause(Duration::from_millis(u64::from(seed) * 389 % 1_500));
    let in_flight = platform.connections();
    platform.kill();
    let accepted_before = lines();
    if in_flight < IN_FLIGHT_MIN {
        return Err(format!("only {in_flight} requests were under way when it was killed"));
    }
    platform.start()?;
    let again = selling_again(platform)?;
    let status = storm.wait()?;
    if !status.success() {
        return Err(format!("the storm ended with {status}"));
    }
    println!(
        "   killed with {in_flight} requests under way and {accepted_before} accepted; selling again after {} ms; \
         {} accepted in all",
        again.as_millis(),
        lines().saturating_sub(2)
    );
    play(loadtest, platform, &["verdict", "--journal", &journal_word])?;
    if again > SELLING_AGAIN_MAX {
        return Err(format!("selling again only after {} ms", again.as_millis()));
    }
    Ok(())
}

/// How long it takes until every sale's stock state is back and its gate says open.
fn selling_again(platform: &Platform) -> Outcome<Duration> {
    let began = Instant::now();
    wait_for("selling again", Duration::from_secs(60), || {
        let Ok(sales) = platform.public_get("/api/v1/sales") else { return false };
        let ids = sales["sales"].as_array().cloned().unwrap_or_default();
        !ids.is_empty()
            && ids.iter().all(|sale| {
                let id = sale["id"].as_str().unwrap_or_default();
                let gate = platform.public_get(&format!("/api/v1/sales/{id}/gate"));
                gate.is_ok_and(|gate| gate["state"] == "open")
            })
    })?;
    Ok(began.elapsed())
}
