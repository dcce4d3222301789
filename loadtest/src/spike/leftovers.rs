//! Units that came back after the crowd had left: a few last buyers must be able to buy every one.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::stage::Stage;
use crate::error::RunError;
use crate::journal::Entry;
use crate::platform::Placed;
use crate::verdict;

/// Last buyers at most.
const BUYERS_MAX: u64 = 10_000;

/// Buys what is left, one unit a buyer, when the crowd had wanted all of it; how many were bought.
///
/// # Errors
/// When the platform does not answer.
pub(super) async fn buy(stage: &Stage, settle: Instant) -> Result<u64, RunError> {
    let ledger = verdict::at_rest(&stage.platform, &stage.sale, settle).await?;
    let demand = stage.tally.wishes.demand.load(Ordering::Relaxed);
    let free = ledger.stock_store.map_or(0, |stock| stock.free);
    if free == 0 || demand < u64::from(ledger.total) {
        return Ok(0);
    }
    let mut shopper = stage.platform.shopper();
    let Some(buy) = shopper.gate(&stage.sale).await?.buy else { return Ok(0) };
    let mut bought = 0;
    for n in 0..u64::from(free).min(BUYERS_MAX) {
        let buyer = stage.name(stage.args.buyers + n);
        let token = shopper.token(&buyer).await?;
        let Ok(issued) = shopper.ticket(&buy, &token).await? else { break };
        let Placed::Accepted(order) = shopper.place(&buy, &token, &issued.ticket, 1).await? else { break };
        stage.tally.demanded(1);
        let (order, buyer) = (order.into(), buyer.into());
        stage.journal.add(Entry { order, buyer, quantity: 1, ticket: issued.ticket.into(), refused: false });
        bought += 1;
    }
    Ok(bought)
}
