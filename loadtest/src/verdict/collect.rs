//! Gathering the facts: wait for rest, then ask for every accepted order as its buyer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contract::api::Ledger;
use tokio::time::Instant;

use super::{Facts, Fate};
use crate::journal::{Account, Entry};
use crate::platform::{Platform, PlatformError, Shopper};

/// Sessions that look orders up.
const LOOKERS: usize = 16;
/// Pause between two looks at a ledger that is not at rest, or at an order that is queued.
const REST_PAUSE_MS: u64 = 250;

/// Waits until the sale is at rest, within the deadline: then the last ledger, whatever it says.
///
/// # Errors
/// When the platform does not tell.
pub(crate) async fn at_rest(
    platform: &Platform,
    sale: &str,
    deadline: Instant,
) -> Result<Ledger, PlatformError> {
    let mut operator = platform.operator();
    loop {
        let ledger = operator.ledger(sale).await?;
        let reserved = ledger.stock_store.map_or(u32::MAX, |stock| stock.reserved);
        let rests = ledger.consistent && ledger.queued == 0 && reserved == 0;
        if rests || Instant::now() >= deadline {
            return Ok(ledger);
        }
        tokio::time::sleep(Duration::from_millis(REST_PAUSE_MS)).await;
    }
}

/// Gathers everything the verdict needs. With a `sample`, only about so many orders are looked up.
///
/// # Errors
/// When the platform does not tell.
pub(crate) async fn collect(
    platform: &Platform,
    account: Account,
    drain: Duration,
    sample: usize,
) -> Result<Facts, PlatformError> {
    let deadline = Instant::now() + drain;
    at_rest(platform, &account.head.sale, deadline).await?;
    let account = Arc::new(account);
    let fates = look_up(platform, &account, deadline, sample).await?;
    let ledger = at_rest(platform, &account.head.sale, deadline).await?;
    let audit = platform.operator().audit().await?;
    let account = Arc::try_unwrap(account).unwrap_or_else(|shared| (*shared).clone());
    Ok(Facts { account, fates, ledger, audit })
}

async fn look_up(
    platform: &Platform,
    account: &Arc<Account>,
    deadline: Instant,
    sample: usize,
) -> Result<Vec<Fate>, PlatformError> {
    let total = account.entries.len();
    let step = total.checked_div(sample).unwrap_or(1).max(1);
    let next = Arc::new(AtomicUsize::new(0));
    let mut lookers = tokio::task::JoinSet::new();
    for _ in 0..LOOKERS.min(total) {
        let (mut shopper, account, next) = (platform.shopper(), Arc::clone(account), Arc::clone(&next));
        lookers.spawn(async move {
            let mut seen = Vec::new();
            loop {
                let n = next.fetch_add(step, Ordering::Relaxed);
                let Some(entry) = account.entries.get(n) else { return Ok(seen) };
                seen.push((n, fate(&mut shopper, entry, deadline).await?));
            }
        });
    }
    let mut fates = vec![Fate::Unchecked; total];
    while let Some(looked) = lookers.join_next().await {
        // A looker that panicked leaves its orders unchecked; the panic itself is a bug to be seen.
        let seen: Result<Vec<(usize, Fate)>, PlatformError> = looked.expect("lookers do not panic");
        for (n, fate) in seen? {
            fates[n] = fate;
        }
    }
    Ok(fates)
}

async fn fate(shopper: &mut Shopper, entry: &Entry, deadline: Instant) -> Result<Fate, PlatformError> {
    let token = shopper.token(&entry.buyer).await?;
    loop {
        let fate = match shopper.order(&entry.order, &token).await? {
            // An order that answers for another one is as good as lost.
            Ok(order) if order.order_id.to_string() != *entry.order => Fate::Lost,
            Ok(order) if order.quantity != entry.quantity => Fate::Lost,
            Ok(order) => Fate::of(order.status.as_str()),
            Err(reply) if reply.status == 404 => Fate::Lost,
            Err(_) => Fate::Unreadable,
        };
        if fate != Fate::Queued || Instant::now() >= deadline {
            return Ok(fate);
        }
        tokio::time::sleep(Duration::from_millis(REST_PAUSE_MS)).await;
    }
}
