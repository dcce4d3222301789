//! The crowd of whole buyers, played by goose: they wait at the gate, click twice, change their minds,
//! retry as told, follow their order, pay or cancel. Only this module knows goose.

mod ask;
mod buyer;
mod leftovers;
mod stage;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use goose::GooseAttack;
use goose::config::GooseConfiguration;
use goose::goose::{Scenario, Transaction, TransactionFunction};
use goose::metrics::GooseMetrics;
use tokio::time::Instant;

use crate::cli::SpikeArgs;
use crate::clock::Clock;
use crate::error::RunError;
use crate::journal::{Foot, Journal};
use crate::progress::Progress;
use crate::report::{Report, say};
use crate::tally::Kind;
use crate::venue::Venue;
use crate::verdict::{self, Promise};
use stage::Stage;

/// Between two looks at the ledger for payments whose webhooks are under way.
const PAYMENTS_PAUSE: Duration = Duration::from_millis(200);

/// Plays a spike; true when the verdict passed.
///
/// # Errors
/// When it cannot be played or judged.
pub(crate) async fn run(args: &SpikeArgs, clock: &Clock) -> Result<bool, RunError> {
    let platform = args.target.platform(clock)?;
    let venue = Venue::prepare(&platform, &args.sale, clock).await?;
    let journal = Journal::create(venue.head.clone(), args.journal.as_deref())?;
    say(&format!("spike on sale {}: {} buyers, {} units", venue.head.sale, args.buyers, venue.head.stock));
    let stage = Arc::new(Stage::new(args.clone(), clock, platform.clone(), &venue, journal));
    let tally = &stage.tally;

    let progress = Progress::start(Arc::clone(tally));
    let begun = Instant::now();
    let users = play(&stage, args).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let settle = Instant::now() + Duration::from_secs(args.target.drain_s);
    let bought_back = leftovers::buy(&stage, settle).await?;
    drop(progress);

    let foot = Foot {
        demand: tally.wishes.demand.load(Ordering::Relaxed),
        unknown: tally.wishes.unknown.load(Ordering::Relaxed),
        wrong: tally.of(Kind::Wrong),
        refused: tally.of(Kind::Refused),
    };
    let account = stage.journal.close(foot)?;
    let drain = Duration::from_secs(args.target.drain_s);
    let facts = verdict::collect(&platform, account, drain, args.target.sample).await?;
    let mut verdict = verdict::judge(&facts);
    let played = stage.played();
    let detail = format!("{played} of {}", args.buyers);
    verdict.promises.push(Promise::new("every buyer was played", played == args.buyers, detail));
    verdict.promises.push(sold_again(&facts, foot));
    verdict.promises.push(payments_counted(&stage, settle).await?);
    let report = Report {
        title: format!("spike on sale {} ({} buyers, {users} at once)", venue.head.sale, args.buyers),
        tally: Some(tally),
        rates: None,
        extra: vec![
            ("seconds played", format!("{seconds:.1}").into()),
            ("orders paid", stage.done.paid.load(Ordering::Relaxed).into()),
            ("orders cancelled", stage.done.cancelled.load(Ordering::Relaxed).into()),
            ("returned units sold again", bought_back.into()),
        ],
        verdict: Some(verdict),
    };
    Ok(report.publish(args.target.json.as_deref())?)
}

/// After the leftovers nothing may be left that somebody had wanted, whatever came back before.
fn sold_again(facts: &verdict::Facts, foot: Foot) -> Promise {
    let counts = facts.ledger.order_store;
    let wanted = u64::from(facts.ledger.total).min(foot.demand);
    // An expiry may come after the last buyer, and a unit given up on may be held until its fence.
    let judged = counts.expired == 0 && foot.unknown == 0 && facts.account.head.taken_before == 0;
    let returned = counts.cancelled + counts.rejected + counts.refunded;
    let detail = format!("{returned} orders gave units back; taken {} of {wanted} wanted", counts.taken);
    let held = !judged || foot.demand < u64::from(facts.ledger.total) || u64::from(counts.taken) == wanted;
    Promise::new("what came back sold again", held, detail)
}

/// Every payment that a buyer saw succeed has ended: its order is paid, or the money came too late and goes back.
async fn payments_counted(stage: &Stage, give_up: Instant) -> Result<Promise, RunError> {
    let (seen, mut operator) = (stage.done.paid.load(Ordering::Relaxed), stage.platform.operator());
    loop {
        let counts = operator.ledger(&stage.sale).await?.order_store;
        let ended = counts.paid + counts.refunded + counts.expired;
        if ended >= seen || Instant::now() >= give_up {
            let detail = format!(
                "{seen} seen to succeed; paid {}, refunded {}, expired {}",
                counts.paid, counts.refunded, counts.expired
            );
            return Ok(Promise::new("what was paid counts", ended >= seen, detail));
        }
        tokio::time::sleep(PAYMENTS_PAUSE).await;
    }
}

/// Runs the goose attack; how many users it had at once.
async fn play(stage: &Arc<Stage>, args: &SpikeArgs) -> Result<usize, RunError> {
    let goose = |e: goose::GooseError| RunError::Goose(format!("{e:?}"));
    let buyers = usize::try_from(args.buyers).unwrap_or(usize::MAX);
    let users = args.users.clamp(1, buyers.max(1));
    let mut line: Vec<String> = [
        "--host",
        &format!("http://{}", stage.platform.public.authority),
        "--users",
        &users.to_string(),
        "--increase-rate",
        &users.to_string(),
        "--iterations",
        &buyers.div_ceil(users).to_string(),
        "--no-print-metrics",
        "-qqq",
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(report) = &args.goose_report {
        line.extend(["--report-file".into(), report.display().to_string()]);
    }
    let configuration = GooseConfiguration::parse_args_default(&line).map_err(goose)?;
    let scenario = Scenario::new("buyer")
        .register_transaction(Transaction::new(transaction(Arc::clone(stage))).set_name("a buyer's visit"));
    let attack = GooseAttack::initialize_with_config(configuration).map_err(goose)?;
    let metrics: GooseMetrics =
        Box::pin(attack.register_scenario(scenario).execute()).await.map_err(goose)?;
    Ok(metrics.total_users.max(users))
}

fn transaction(stage: Arc<Stage>) -> TransactionFunction {
    Arc::new(move |user| {
        let stage = Arc::clone(&stage);
        Box::pin(async move { buyer::visit(user, &stage).await })
    })
}
