//! What all buyers of a storm share: the sale, their names and tokens, the requests they write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cli::StormArgs;
use crate::clock::Clock;
use crate::error::RunError;
use crate::http::Target;
use crate::journal::Journal;
use crate::platform::Platform;
use crate::random::Random;
use crate::secret::TokenMint;
use crate::tally::Tally;
use crate::venue::Venue;

/// Buyers that may log in one by one before a storm; more need a secret to mint tokens with.
const LOGINS_MAX: u64 = 5000;
/// Sets the draw of who comes back apart from a buyer's other draws.
const AGAIN: u64 = 0x49;

#[derive(Debug)]
enum Tokens {
    Minted(TokenMint),
    LoggedIn(Vec<String>),
}

/// The crowd.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Where it clicks.
    pub(super) target: Target,
    /// The sale.
    pub(super) sale: String,
    /// What it was promised.
    pub(super) journal: Journal,
    /// What it was answered.
    pub(super) tally: Arc<Tally>,
    /// How long a buyer retries.
    pub(super) patience: Duration,
    prefix: String,
    tokens: Tokens,
    quantities: Vec<u32>,
    again_percent: u8,
    seed: u64,
    ticket_head: Vec<u8>,
    order_head: Vec<u8>,
    arrived: AtomicU64,
    came_again: AtomicU64,
}

impl Crowd {
    /// Waits for the gate and readies everything that can be written before the first click.
    ///
    /// # Errors
    /// When the sale does not open or the buyers cannot be identified.
    pub(super) async fn gather(
        args: &StormArgs,
        clock: &Clock,
        platform: &Platform,
        venue: &Venue,
        journal: Journal,
        tally: Arc<Tally>,
    ) -> Result<Self, RunError> {
        let prefix = format!("storm-{}-", clock.now_ms());
        let tokens = match &platform.mint {
            Some(mint) => Tokens::Minted(mint.clone()),
            None => Tokens::LoggedIn(log_in(platform, &prefix, args.buyers).await?),
        };
        let buy = venue.opened(platform).await?;
        let head = |step: &str, more: &str| {
            let host = &platform.public.authority;
            format!("POST {buy}/{step} HTTP/1.1\r\nhost: {host}\r\n{more}authorization: Bearer ").into_bytes()
        };
        Ok(Self {
            target: platform.public.clone(),
            sale: venue.head.sale.clone(),
            journal,
            tally,
            patience: Duration::from_secs(args.patience_s),
            prefix,
            tokens,
            quantities: args.quantity.clone(),
            again_percent: args.again_percent,
            seed: args.target.seed,
            ticket_head: head("tickets", ""),
            order_head: head("orders", "content-type: application/json\r\n"),
            arrived: AtomicU64::new(0),
            came_again: AtomicU64::new(0),
        })
    }

    /// The number of the buyer who comes as the visitor with this number: most come once, and some a second time, right
    /// behind or beside themselves.
    pub(super) fn who(&self, visitor: u64) -> u64 {
        let buyer = who(self.seed, self.again_percent, visitor);
        if buyer != visitor {
            self.came_again.fetch_add(1, Ordering::Relaxed);
        }
        buyer
    }

    /// Visitors so far who had come before.
    pub(super) fn came_again(&self) -> u64 {
        self.came_again.load(Ordering::Relaxed)
    }

    /// The buyer with this number.
    pub(super) fn name(&self, index: u64) -> String {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        format!("{}{index}", self.prefix)
    }

    /// Buyers that came so far.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Their token.
    pub(super) fn token(&self, index: u64, name: &str) -> String {
        match &self.tokens {
            Tokens::Minted(mint) => mint.token(name),
            Tokens::LoggedIn(tokens) => {
                usize::try_from(index).ok().and_then(|n| tokens.get(n)).cloned().unwrap_or_default()
            }
        }
    }

    /// The units they want.
    pub(super) fn quantity(&self, index: u64) -> u32 {
        if let [only] = self.quantities[..] {
            return only;
        }
        let draw = Random::of(self.seed, index).below(self.quantities.len() as u64);
        usize::try_from(draw).ok().and_then(|n| self.quantities.get(n)).copied().unwrap_or(1)
    }

    /// Writes a ticket request.
    pub(super) fn write_ticket(&self, into: &mut Vec<u8>, token: &str) {
        into.clear();
        into.extend_from_slice(&self.ticket_head);
        into.extend_from_slice(token.as_bytes());
        into.extend_from_slice(b"\r\ncontent-length: 0\r\n\r\n");
    }

    /// Writes an order request.
    pub(super) fn write_order(&self, into: &mut Vec<u8>, token: &str, ticket: &str, quantity: u32) {
        let quantity = quantity.to_string();
        let (before, between) = (r#"{"ticket":""#, r#"","quantity":"#);
        let length = before.len() + ticket.len() + between.len() + quantity.len() + 1;
        into.clear();
        into.extend_from_slice(&self.order_head);
        for piece in [
            token,
            "\r\ncontent-length: ",
            &length.to_string(),
            "\r\n\r\n",
            before,
            ticket,
            between,
            &quantity,
            "}",
        ] {
            into.extend_from_slice(piece.as_bytes());
        }
    }
}

fn who(seed: u64, again_percent: u8, visitor: u64) -> u64 {
    let again = visitor > 0 && Random::of(seed ^ AGAIN, visitor).percent(again_percent);
    if again { visitor - 1 } else { visitor }
}

async fn log_in(platform: &Platform, prefix: &str, buyers: u64) -> Result<Vec<String>, RunError> {
    if buyers > LOGINS_MAX {
        return Err(RunError::NeedsSecret(LOGINS_MAX));
    }
    let mut shopper = platform.shopper();
    let mut tokens = Vec::new();
    for n in 0..buyers {
        tokens.push(shopper.token(&format!("{prefix}{n}")).await?);
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::who;

    #[test]
    fn some_buyers_come_twice_and_nobody_more_often() {
        let mut visits: BTreeMap<u64, u32> = BTreeMap::new();
        for visitor in 0..10_000 {
            *visits.entry(who(7, 20, visitor)).or_default() += 1;
        }
        let twice = visits.values().filter(|n| **n == 2).count();
        assert!(visits.values().all(|n| *n <= 2));
        // A fifth of them, less those whose own visit is the second of the buyer before.
        assert!((1_400..1_800).contains(&twice), "{twice} came twice");
        assert!((0..100).all(|visitor| who(7, 0, visitor) == visitor));
    }
}
