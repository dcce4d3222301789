//! The lean generator: distinct buyers, a ticket and an order each, at rates where the client's own
//! processor time matters.

mod buyer;
mod crowd;
mod pace;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use contract::api::OrderCounts;
use tokio::time::Instant;

use crate::cli::StormArgs;
use crate::clock::Clock;
use crate::error::RunError;
use crate::journal::{Foot, Journal};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::report::{Rates, Report, say};
use crate::tally::{Kind, Tally};
use crate::venue::Venue;
use crate::{cpu, verdict};
use crowd::Crowd;
use pace::Pace;

/// How often the end of the arrivals is looked for.
const END_LOOK_MS: u64 = 20;
/// Connections one generator may hold.
const CONNECTIONS_MAX: usize = 8192;

/// Plays a storm; true when the verdict passed.
///
/// # Errors
/// When it cannot be played or judged.
pub(crate) async fn run(args: &StormArgs, clock: &Clock) -> Result<bool, RunError> {
    let platform = args.target.platform(clock)?;
    let venue = Venue::prepare(&platform, &args.sale, clock).await?;
    let journal = Journal::create(venue.head.clone(), args.journal.as_deref())?;
    let tally = Arc::new(Tally::new());
    say(&format!("storm on sale {}: {} units", venue.head.sale, venue.head.stock));
    let crowd = Crowd::gather(args, clock, &platform, &venue, journal, Arc::clone(&tally)).await?;
    let crowd = Arc::new(crowd);

    let rates = blow(args, &platform, &crowd).await?;

    let foot = Foot {
        demand: tally.wishes.demand.load(Ordering::Relaxed),
        unknown: tally.wishes.unknown.load(Ordering::Relaxed),
        wrong: tally.of(Kind::Wrong),
        // Only who comes back can hold enough already.
        refused: tally.of(Kind::Refused) + tally.of(Kind::Limit).saturating_sub(crowd.came_again()),
    };
    let account = crowd.journal.close(foot)?;
    let verdict = if args.no_verdict {
        None
    } else {
        let drain = Duration::from_secs(args.target.drain_s);
        let facts = verdict::collect(&platform, account, drain, args.target.sample).await?;
        Some(verdict::judge(&facts))
    };
    let mode = args.rate.map_or("closed loop".into(), |rate| format!("open loop at {rate} buyers/s"));
    let report = Report {
        title: format!("storm on sale {} ({mode}, {} connections)", venue.head.sale, args.connections),
        tally: Some(&tally),
        rates: Some(rates),
        extra: vec![("buyers that arrived", crowd.arrived().into())],
        verdict,
    };
    Ok(report.publish(args.target.json.as_deref())?)
}

/// Rows of the ledger: one per order that was ever decided.
fn rows(counts: &OrderCounts) -> u64 {
    counts.pending_payment
        + counts.paid
        + counts.cancelled
        + counts.expired
        + counts.rejected
        + counts.refunded
}

/// The storm itself, and what was measured while buyers arrived.
async fn blow(args: &StormArgs, platform: &Platform, crowd: &Arc<Crowd>) -> Result<Rates, RunError> {
    let sale = &crowd.sale;
    let mut operator = platform.operator();
    let rows_before = rows(&operator.ledger(sale).await?.order_store);
    let (cpu_before, begun) = (cpu::spent(), Instant::now());
    let pace = Arc::new(Pace::new(args.rate, args.buyers, begun));
    let threads: Vec<_> = (0..args.threads.max(1)).map(|n| generator(args, n, crowd, &pace)).collect();
    let progress = Progress::start(Arc::clone(&crowd.tally));

    let until = begun + Duration::from_secs_f64(args.duration.max(0.0));
    while Instant::now() < until && threads.iter().any(|t| !t.is_finished()) {
        tokio::time::sleep(Duration::from_millis(END_LOOK_MS)).await;
    }
    pace.stop();
    let (requests, accepted) = (crowd.tally.requests(), crowd.tally.of(Kind::Accepted));
    let (cpu, window) = (cpu::spent() - cpu_before, begun.elapsed());
    // A platform that was killed does not tell; the journal is what counts then.
    let counted = async { (operator.ledger(sale).await, begun.elapsed()) };
    let ((ledger, ledger_window), ended) = tokio::join!(counted, all_ended(threads, crowd));
    ended?;
    let rows_after = match ledger {
        Ok(ledger) => rows(&ledger.order_store),
        Err(_) if args.no_verdict => rows_before,
        Err(e) => return Err(e.into()),
    };
    drop(progress);
    Ok(rates(window, ledger_window, requests, accepted, rows_after - rows_before.min(rows_after), cpu))
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
fn rates(
    window: Duration,
    ledger_window: Duration,
    requests: u64,
    accepted: u64,
    rows: u64,
    cpu: Duration,
) -> Rates {
    let seconds = window.as_secs_f64().max(1e-9);
    Rates {
        seconds,
        requests_per_s: requests as f64 / seconds,
        accepted_per_s: accepted as f64 / seconds,
        committed_rows_per_s: rows as f64 / ledger_window.as_secs_f64().max(1e-9),
        generator_cpu_us_per_request: cpu.as_secs_f64() * 1e6 / (requests.max(1) as f64),
    }
}

type Generator = std::thread::JoinHandle<std::io::Result<()>>;

/// Waits until every buyer has left, and writes the last of their journal down: whoever watches it grow sees
/// when the last order was accepted.
async fn all_ended(threads: Vec<Generator>, crowd: &Crowd) -> Result<(), RunError> {
    for thread in threads {
        let joined = tokio::task::spawn_blocking(|| thread.join()).await;
        joined.map_err(|_| RunError::Generator)?.map_err(|_| RunError::Generator)??;
    }
    crowd.journal.flush();
    Ok(())
}

/// One thread with a runtime of its own: nothing is shared that would need a wake-up across cores.
fn generator(args: &StormArgs, index: usize, crowd: &Arc<Crowd>, pace: &Arc<Pace>) -> Generator {
    let (crowd, pace) = (Arc::clone(crowd), Arc::clone(pace));
    let threads = args.threads.max(1);
    let connections = args.connections.clamp(1, CONNECTIONS_MAX);
    let mine = connections / threads + usize::from(index < connections % threads);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut players = tokio::task::JoinSet::new();
            for _ in 0..mine {
                players.spawn(buyer::play_all(Arc::clone(&crowd), Arc::clone(&pace)));
            }
            while let Some(player) = players.join_next().await {
                player.map_err(std::io::Error::other)?;
            }
            Ok(())
        })
    })
}
