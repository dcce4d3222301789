//! Trials: storms against the release binary that end in a verdict, again and again; and how soon a unit that comes back
//! is sold at every gateway.

mod released;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::engines::Durability;
use crate::platform::Platform;
use crate::process::{Home, Owned, leashed, to_end};
use crate::run::{Outcome, pause, release, wait_for};
use crate::stack::{Shape, Stack};
use crate::subject::{SOLD_SINCE_LINES_MIN, Subject, WEBHOOK_SECRET};

/// Buyers that must be connected when the platform is killed, for the run to count: each has a request under way, or
/// waits for the next try.
const CONNECTED_MIN: usize = 100;
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
    /// No storm: a cancelled order's unit, and when each of three gateways sells it; then the same with all broadcasts
    /// dropped. Always on separate services.
    Released,
}

/// `cargo xtask trial`.
#[derive(Args)]
pub(crate) struct Options {
    /// Which storm.
    which: Which,
    /// How many runs; of `released` with broadcasts, and as many without.
    #[arg(long, default_value_t = 1)]
    runs: u32,
    /// Buyers of a spike.
    #[arg(long, default_value_t = 20_000)]
    buyers: u32,
    /// Units of a spike.
    #[arg(long, default_value_t = 2_000)]
    stock: u32,
    /// On separate services and private engines instead of the all-in-one; a kill is of all services.
    #[arg(long)]
    stack: bool,
    /// Gateways of the stack; `released` takes three at least.
    #[arg(long, default_value_t = 1)]
    gateways: usize,
    /// Inventories of the stack.
    #[arg(long, default_value_t = 1)]
    inventories: usize,
    /// Order services of the stack.
    #[arg(long, default_value_t = 1)]
    orders: usize,
    /// The stack's services speak TLS to their engines.
    #[arg(long, requires = "stack")]
    encrypted: bool,
}

/// Plays one storm with this seed against a platform that is ready.
type Storm = fn(&Options, &Path, &mut dyn Subject, &Home, u32) -> Outcome;

/// Plays them; the first broken promise ends it.
pub(crate) fn run(options: &Options) -> Outcome {
    let storm: Storm = match options.which {
        Which::Spike => spike,
        Which::Kill => killed,
        Which::Limits => limits,
        Which::Races => races,
        Which::Released => return released::run(options),
    };
    let folder = release()?;
    for n in 1..=options.runs {
        let home = Home::new()?;
        let mut subject = subject(options, &folder, &home)?;
        if options.which == Which::Races {
            subject.set("SECKILL_EXPIRE_EVERY_MS", "20");
        }
        subject.start()?;
        subject.ready()?;
        storm(options, &folder.join("loadtest"), subject.as_mut(), &home, n)
            .map_err(|why| format!("run {n} of {}: {why}", options.runs))?;
        println!("== run {n} of {} passed", options.runs);
    }
    Ok(())
}

/// What is tried; not started yet.
fn subject(options: &Options, folder: &Path, home: &Home) -> Outcome<Box<dyn Subject>> {
    if !options.stack {
        return Ok(Box::new(Platform::new(&folder.join("seckill"), &home.path().join("data"))?));
    }
    let shape = Shape {
        gateways: options.gateways,
        inventories: options.inventories,
        orders: options.orders,
        encrypted: options.encrypted,
        ..Shape::default()
    };
    Ok(Box::new(Stack::new(&shape, Durability::Full)?))
}

fn spike(options: &Options, loadtest: &Path, subject: &mut dyn Subject, _: &Home, seed: u32) -> Outcome {
    let (buyers, stock) = (options.buyers.to_string(), options.stock.to_string());
    let words = ["spike", "--buyers", &buyers, "--stock", &stock, "--seed", &seed.to_string()];
    play(loadtest, subject, &words)
}

fn limits(_: &Options, loadtest: &Path, subject: &mut dyn Subject, _: &Home, seed: u32) -> Outcome {
    play(loadtest, subject, &["buyers-limit", "--seed", &seed.to_string()])
}

fn races(_: &Options, loadtest: &Path, subject: &mut dyn Subject, _: &Home, seed: u32) -> Outcome {
    let words = ["races", "--webhook-secret", WEBHOOK_SECRET, "--seed", &seed.to_string()];
    play(loadtest, subject, &words)
}

pub(crate) fn play(loadtest: &Path, subject: &dyn Subject, words: &[&str]) -> Outcome {
    let mut command = leashed(loadtest, None)?;
    command.args(words).args(subject.target_arguments());
    to_end(command)
}

/// Kills the platform with a storm in full swing, starts it again, and has the journal judged.
fn killed(_: &Options, loadtest: &Path, subject: &mut dyn Subject, home: &Home, seed: u32) -> Outcome {
    let journal = &home.path().join("journal");
    let journal_word = journal.display().to_string();
    let seed_word = seed.to_string();
    let words = ["storm", "--no-verdict", "--stock", "400000", "--connections", "256", "--duration", "16"];
    let mut storm = leashed(loadtest, None)?;
    storm.args(words).args(["--journal", &journal_word, "--seed", &seed_word, "--patience-s", "30"]);
    storm.args(subject.target_arguments()).stdout(Stdio::null());
    let mut storm = Owned::start(storm)?;
    let lines = || std::fs::read_to_string(journal).map_or(0, |text| text.lines().count());
    wait_for("the storm rising", Duration::from_secs(30), || lines() > 2_000)?;
    // Somewhere within the next second and a half, spread over the runs.
    pause(Duration::from_millis(u64::from(seed) * 389 % 1_500));
    let connected = subject.connections();
    subject.kill();
    let accepted_before = lines();
    if connected < CONNECTED_MIN {
        return Err(format!("only {connected} buyers were connected when it was killed"));
    }
    subject.start()?;
    let again = selling_again(subject)?;
    let mended = lines();
    let status = storm.wait()?;
    if !status.success() {
        return Err(format!("the storm ended with {status}"));
    }
    if lines() < mended + usize::from(SOLD_SINCE_LINES_MIN) {
        return Err("nothing was sold after it was started again".into());
    }
    println!(
        "   killed with {connected} buyers connected and {accepted_before} accepted; selling again after {} ms; \
         {} accepted in all",
        again.as_millis(),
        lines().saturating_sub(2)
    );
    play(loadtest, subject, &["verdict", "--journal", &journal_word])?;
    if again > SELLING_AGAIN_MAX {
        return Err(format!("selling again only after {} ms", again.as_millis()));
    }
    Ok(())
}

/// How long it takes until every sale's stock state is back and its gate says open.
pub(crate) fn selling_again(subject: &dyn Subject) -> Outcome<Duration> {
    let began = Instant::now();
    wait_for("selling again", Duration::from_secs(60), || {
        let Ok(sales) = subject.public_get("/api/v1/sales") else { return false };
        let ids = sales["sales"].as_array().cloned().unwrap_or_default();
        !ids.is_empty()
            && ids.iter().all(|sale| {
                let id = sale["id"].as_str().unwrap_or_default();
                let gate = subject.public_get(&format!("/api/v1/sales/{id}/gate"));
                gate.is_ok_and(|gate| gate["state"] == "open")
            })
    })?;
    Ok(began.elapsed())
}
