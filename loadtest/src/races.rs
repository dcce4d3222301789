//! Payments, cancels and expiry racing for the same orders at their deadline.

mod judge;
mod order;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cli::{RacesArgs, SaleArgs};
use crate::clock::Clock;
use crate::error::RunError;
use crate::platform::Platform;
use crate::report::{Report, say};
use crate::venue::Venue;
use crate::verdict::{Promise, Verdict};
use judge::{Outcome, clicked_again, judge};
use plan::Plan;

/// Orders at most: each holds a connection until its race is run.
const ORDERS_MAX: u32 = 4096;
/// Price of a unit: any odd number, so that a lost cent would show.
const PRICE_CENTS: i64 = 1999;
/// Readers of the outcomes.
const READERS: usize = 16;

/// What all races share.
#[derive(Debug)]
struct Track {
    platform: Platform,
    /// The platform by the way the payment provider takes.
    provider: Platform,
    /// Reports of one capture are at most so far apart.
    spread_ms: i64,
    webhook_secret: String,
    buy: String,
    clock: Clock,
    /// The platform's clock minus ours.
    offset_ms: i64,
    tag: i64,
    /// Whether tickets of cancelled orders are sent again.
    click_again: bool,
    /// Orders being placed at once.
    placing: Semaphore,
}

/// Plays the races; true when the verdict passed.
///
/// # Errors
/// When they cannot be played or judged.
pub(crate) async fn run(args: &RacesArgs, clock: &Clock) -> Result<bool, RunError> {
    let platform = args.target.platform(clock)?;
    let orders = args.orders.clamp(1, ORDERS_MAX);
    let sale = SaleArgs {
        sale: None,
        stock: orders,
        per_user_limit: 1,
        open_in_s: 1,
        pay_within_s: args.pay_within_s,
        price_cents: PRICE_CENTS,
    };
    let venue = Venue::prepare(&platform, &sale, clock).await?;
    say(&format!("races on sale {}: {orders} orders, {} s to pay", venue.head.sale, args.pay_within_s));
    let buy = venue.opened(&platform).await?;
    let gate = platform.shopper().gate(&venue.head.sale).await?;
    let track = Arc::new(Track {
        platform: platform.clone(),
        provider: Platform {
            public: args.webhooks_by.clone().unwrap_or_else(|| platform.public.clone()),
            ..platform.clone()
        },
        spread_ms: args.jitter_ms.max(0),
        webhook_secret: args.webhook_secret.clone(),
        buy,
        clock: *clock,
        offset_ms: gate.now - clock.now_ms(),
        tag: clock.now_ms(),
        click_again: args.click_again,
        placing: Semaphore::new(args.connections.max(1)),
    });

    let mut races = JoinSet::new();
    for n in 0..orders {
        let plan = Plan::draw(args.target.seed, n.into(), args.jitter_ms, args.webhook_copies);
        races.spawn(order::race(Arc::clone(&track), n, plan));
    }
    let mut raced = Vec::new();
    while let Some(race) = races.join_next().await {
        if let Some(race) = race.map_err(|_| RunError::Generator)?? {
            raced.push(race);
        }
    }
    say(&format!("{} races run, waiting for their ends", raced.len()));
    let deadline = Instant::now() + Duration::from_secs(args.target.drain_s);
    let outcomes = ends(&platform, raced, deadline).await?;
    let ledger = crate::verdict::at_rest(&platform, &venue.head.sale, deadline).await?;
    let audit = platform.operator().audit().await?;
    let mut verdict = judge(&outcomes, orders, &ledger, args.winner_percent.into());
    if args.click_again {
        verdict.promises.push(clicked_again(&outcomes));
    }
    let detail = format!("{} findings", audit.findings.len());
    verdict.promises.push(Promise::new("the audit finds nothing", audit.ok, detail));
    report(args, &venue, &outcomes, verdict)
}

fn report(args: &RacesArgs, venue: &Venue, outcomes: &[Outcome], verdict: Verdict) -> Result<bool, RunError> {
    let count = |which: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|o| which(o)).count();
    let again: u32 = outcomes.iter().map(|outcome| outcome.race.captures_again).sum();
    let report = Report {
        title: format!("races on sale {}", venue.head.sale),
        tally: None,
        rates: None,
        extra: vec![
            ("orders raced", outcomes.len().into()),
            ("payments captured", count(&|o| o.captured() > 0).into()),
            ("captures reported again", again.into()),
            ("captured after the deadline", count(&|o| o.race.paid_late).into()),
            ("captures refunded", count(&|o| o.refunded() > 0).into()),
            ("cancels answered 200", count(&|o| o.race.cancelled).into()),
        ],
        verdict: Some(verdict),
    };
    Ok(report.publish(args.target.json.as_deref())?)
}

/// Reads every order until it has come to its end, or the deadline passes.
async fn ends(
    platform: &Platform,
    raced: Vec<order::Race>,
    deadline: Instant,
) -> Result<Vec<Outcome>, RunError> {
    let races = Arc::new(std::sync::Mutex::new(raced));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (platform, races) = (platform.clone(), Arc::clone(&races));
        readers.spawn(async move {
            let mut operator = platform.operator();
            let mut outcomes = Vec::new();
            loop {
                let race = races.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
                let Some(race) = race else { return Ok::<_, RunError>(outcomes) };
                outcomes.push(order::end(&mut operator, race, deadline).await?);
            }
        });
    }
    let mut outcomes = Vec::new();
    while let Some(read) = readers.join_next().await {
        outcomes.extend(read.map_err(|_| RunError::Generator)??);
    }
    Ok(outcomes)
}
