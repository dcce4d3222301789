//! Orders of mixed quantities, several per buyer and two at a time, up to the limit and the last unit.

mod last_unit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::cli::{LimitArgs, SaleArgs};
use crate::clock::Clock;
use crate::error::RunError;
use crate::http::{Reply, body};
use crate::journal::{Entry, Foot, Journal};
use crate::platform::{Placed, Platform, Shopper};
use crate::progress::Progress;
use crate::random::Random;
use crate::report::{Report, say};
use crate::tally::{Kind, Tally};
use crate::venue::Venue;
use crate::verdict;

/// Orders one buyer tries on each of two connections.
const TRIES_MAX: u32 = 12;
/// Seconds until the sales of this run open.
const OPEN_IN_S: u32 = 1;
/// Long enough that nothing expires while it is judged.
const PAY_WITHIN_S: u32 = 3600;

/// What the buyers share.
#[derive(Debug)]
struct Market {
    platform: Platform,
    buy: String,
    limit: u32,
    seed: u64,
    journal: Journal,
    tally: Arc<Tally>,
    prefix: String,
    next: AtomicU64,
    buyers: u64,
}

/// The sale arguments of this run's sales.
fn sale_of(stock: u32, per_user_limit: u32) -> SaleArgs {
    SaleArgs {
        sale: None,
        stock,
        per_user_limit,
        open_in_s: OPEN_IN_S,
        pay_within_s: PAY_WITHIN_S,
        price_cents: 1500,
    }
}

/// Plays it; true when the verdict passed.
///
/// # Errors
/// When it cannot be played or judged.
pub(crate) async fn run(args: &LimitArgs, clock: &Clock) -> Result<bool, RunError> {
    let platform = args.target.platform(clock)?;
    let venue = Venue::prepare(&platform, &sale_of(args.stock, args.per_user_limit), clock).await?;
    say(&format!("buyers-limit on sale {}: {} units", venue.head.sale, venue.head.stock));
    let tally = Arc::new(Tally::new());
    let market = Arc::new(Market {
        buy: venue.opened(&platform).await?,
        platform: platform.clone(),
        limit: args.per_user_limit,
        seed: args.target.seed,
        journal: Journal::create(venue.head.clone(), None)?,
        tally: Arc::clone(&tally),
        prefix: format!("limit-{}-", clock.now_ms()),
        next: AtomicU64::new(0),
        buyers: args.buyers,
    });
    let progress = Progress::start(Arc::clone(&tally));
    let mut buyers = JoinSet::new();
    for _ in 0..args.connections.max(1) {
        buyers.spawn(play_all(Arc::clone(&market)));
    }
    while let Some(played) = buyers.join_next().await {
        played.map_err(|_| RunError::Generator)??;
    }
    drop(progress);
    let foot = Foot {
        demand: tally.wishes.demand.load(Ordering::Relaxed),
        unknown: tally.wishes.unknown.load(Ordering::Relaxed),
        wrong: tally.of(Kind::Wrong),
        refused: tally.of(Kind::Refused),
    };
    let account = market.journal.close(foot)?;
    let drain = Duration::from_secs(args.target.drain_s);
    let facts = verdict::collect(&platform, account, drain, args.target.sample).await?;
    let mut verdict = verdict::judge(&facts);
    verdict.promises.extend(last_unit::probe(&platform, args, clock).await?);
    let report = Report {
        title: format!("buyers-limit on sale {} ({} buyers)", venue.head.sale, args.buyers),
        tally: Some(&tally),
        rates: None,
        extra: vec![],
        verdict: Some(verdict),
    };
    Ok(report.publish(args.target.json.as_deref())?)
}

async fn play_all(market: Arc<Market>) -> Result<(), RunError> {
    let (mut left, mut right) = (market.platform.shopper(), market.platform.shopper());
    loop {
        let index = market.next.fetch_add(1, Ordering::Relaxed);
        if index >= market.buyers {
            return Ok(());
        }
        let buyer = format!("{}{index}", market.prefix);
        // Both hands draw from their own chance, or they would always ask for the same.
        let (a, b) = (Random::of(market.seed, index * 2), Random::of(market.seed, index * 2 + 1));
        let (left, right) =
            tokio::join!(market.hand(&mut left, &buyer, a), market.hand(&mut right, &buyer, b));
        left?;
        right?;
    }
}

impl Market {
    /// One of a buyer's two hands: orders until the buyer holds the limit or nothing is left.
    async fn hand(&self, shopper: &mut Shopper, buyer: &str, mut chance: Random) -> Result<(), RunError> {
        let token = shopper.token(buyer).await?;
        let mut quantity = 1;
        let mut settled = false;
        for _ in 0..TRIES_MAX {
            if !settled {
                quantity = 1 + u32::try_from(chance.below(self.limit.into())).unwrap_or(0);
            }
            let issued = match shopper.ticket(&self.buy, &token).await? {
                Ok(issued) => issued,
                Err(reply) => {
                    self.refused(200, &reply, quantity);
                    return Ok(());
                }
            };
            self.tally.count(Kind::Ticket);
            settled = match shopper.place(&self.buy, &token, &issued.ticket, quantity).await? {
                Placed::Accepted(order) => {
                    self.tally.count(Kind::Accepted);
                    self.tally.demanded(quantity);
                    let (order, buyer, ticket) = (order.into(), buyer.into(), issued.ticket.into());
                    self.journal.add(Entry { order, buyer, quantity, ticket, refused: false });
                    false
                }
                Placed::Not(reply) => match self.refused(202, &reply, quantity) {
                    // Down to single units before giving up: the limit must be reachable exactly.
                    Kind::Limit if quantity > 1 => {
                        quantity = 1;
                        true
                    }
                    Kind::NotEnough => {
                        quantity = body::available(&reply.body).unwrap_or(1).clamp(1, self.limit);
                        true
                    }
                    _ => return Ok(()),
                },
            };
        }
        Ok(())
    }

    fn refused(&self, success: u16, reply: &Reply, quantity: u32) -> Kind {
        let kind = Kind::of_purchase(success, reply.status, &reply.body);
        self.tally.count(kind);
        self.tally.explain(kind, reply.status, &reply.body);
        match kind {
            Kind::SoldOut | Kind::NotEnough => self.tally.demanded(quantity),
            Kind::Busy | Kind::Broken => self.tally.unknown(quantity),
            _ => {}
        }
        kind
    }
}
