//! The last unit of a sale: too few for one wish, enough for another, and never stranded.

use contract::Code;

use super::sale_of;
use crate::cli::LimitArgs;
use crate::clock::Clock;
use crate::error::RunError;
use crate::http::{Reply, body};
use crate::platform::{Placed, Platform, Shopper};
use crate::venue::Venue;
use crate::verdict::Promise;

/// A sale of one unit more than a buyer may hold, bought step by step.
///
/// # Errors
/// When the platform does not answer.
pub(super) async fn probe(
    platform: &Platform,
    args: &LimitArgs,
    clock: &Clock,
) -> Result<Vec<Promise>, RunError> {
    let limit = args.per_user_limit;
    let venue = Venue::prepare(platform, &sale_of(limit + 1, limit), clock).await?;
    let buy = venue.opened(platform).await?;
    let mut shopper = platform.shopper();
    let mut promises = Vec::new();
    let mut expect = |name: &str, held: bool, got: &Got| {
        promises.push(Promise::new(name, held, got.shown()));
    };
    let tag = clock.now_ms();
    let name = |who: &str| format!("{who}-{tag}");

    for (quantity, what) in [(0, "quantity 0 is refused"), (limit + 1, "more than the limit is refused")] {
        let got = try_buy(&mut shopper, &buy, &name("ann"), quantity).await?;
        expect(what, got.is(Code::InvalidQuantity), &got);
    }
    let got = try_buy(&mut shopper, &buy, &name("ann"), limit).await?;
    expect("a buyer may hold the limit", got.accepted(), &got);
    let got = try_buy(&mut shopper, &buy, &name("ann"), 1).await?;
    expect("and not one unit more", got.is(Code::LimitReached), &got);
    if limit > 1 {
        let got = try_buy(&mut shopper, &buy, &name("bob"), 2).await?;
        expect("free 1, wanted 2: not_enough, available 1", got.available() == Some(1), &got);
    }
    let got = try_buy(&mut shopper, &buy, &name("bob"), 1).await?;
    expect("the last unit still sells", got.accepted(), &got);
    let got = try_buy(&mut shopper, &buy, &name("cid"), 1).await?;
    expect("then it is sold out", got.is(Code::SoldOut), &got);
    Ok(promises)
}

/// What a purchase came to.
struct Got(Result<String, Reply>);

impl Got {
    fn accepted(&self) -> bool {
        self.0.is_ok()
    }

    fn is(&self, code: Code) -> bool {
        self.0.as_ref().is_err_and(|reply| reply.is(code))
    }

    fn available(&self) -> Option<u32> {
        self.0.as_ref().err().filter(|r| r.is(Code::NotEnough)).and_then(|r| body::available(&r.body))
    }

    fn shown(&self) -> String {
        match &self.0 {
            Ok(order) => format!("accepted as {order}"),
            Err(reply) => reply.shown(),
        }
    }
}

async fn try_buy(shopper: &mut Shopper, buy: &str, buyer: &str, quantity: u32) -> Result<Got, RunError> {
    let token = shopper.token(buyer).await?;
    let issued = match shopper.ticket(buy, &token).await? {
        Ok(issued) => issued,
        Err(reply) => return Ok(Got(Err(reply))),
    };
    Ok(Got(match shopper.place(buy, &token, &issued.ticket, quantity).await? {
        Placed::Accepted(order) => Ok(order),
        Placed::Not(reply) => Err(reply),
    }))
}
