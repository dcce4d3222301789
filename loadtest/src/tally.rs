//! What came back, counted while the storm runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::http::body;

/// Longest latency told apart, in microseconds.
const LATENCY_US_MAX: u64 = 120_000_000;
/// Codes of rare answers told apart: the contract has fewer.
const CODES_MAX: usize = 64;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What an answer meant.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// Every kind, as the table lists them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its line in the table, its name in the JSON.
            pub(crate) fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// A ticket.
    Ticket = "tickets issued";
    /// A first 202 for a ticket.
    Accepted = "orders accepted (202)";
    /// A further 202 for the same ticket.
    Again = "accepted again (same ticket)";
    /// Sold out.
    SoldOut = "sold out";
    /// Fewer units than asked for.
    NotEnough = "not enough left";
    /// The buyer holds enough.
    Limit = "buyer limit reached";
    /// Not open, paused or ended.
    Closed = "not open, paused or ended";
    /// 429.
    Limited = "rate limited (429)";
    /// 503.
    Busy = "busy (503)";
    /// Reads, payments and cancels that were answered as the contract says.
    Other = "other answers";
    /// A ticket that had become too old while its buyer tried again and again.
    TooOld = "ticket too old";
    /// Another refusal of the contract: none that these buyers give a reason for.
    Refused = "other refusals (4xx)";
    /// An answer outside the contract.
    Wrong = "wrong answers";
    /// No answer: effect unknown.
    Broken = "connections broken";
}

impl Kind {
    /// What an answer of the purchase path means. `success` is the status that the step hopes for.
    pub(crate) fn of_purchase(success: u16, status: u16, answer: &[u8]) -> Self {
        match status {
            202 if success == 202 => Self::Accepted,
            200 if success == 200 => Self::Ticket,
            409 if body::has_code(answer, "sold_out") => Self::SoldOut,
            409 if body::has_code(answer, "not_enough") => Self::NotEnough,
            409 if body::has_code(answer, "limit_reached") => Self::Limit,
            403 | 410 => Self::Closed,
            422 if success == 202 && body::has_code(answer, "invalid_ticket") => Self::TooOld,
            429 => Self::Limited,
            503 => Self::Busy,
            400..=499 => Self::Refused,
            _ => Self::Wrong,
        }
    }

    /// The same, when nothing was answered before: no ticket is too old at once.
    pub(crate) fn at_once(self) -> Self {
        if self == Self::TooOld { Self::Refused } else { self }
    }

    /// What an answer off the purchase path means; a conflict is a race lost, as the contract says.
    pub(crate) fn of_other(status: u16) -> Self {
        match status {
            200..=299 | 409 => Self::Other,
            429 => Self::Limited,
            503 => Self::Busy,
            400..=499 => Self::Refused,
            _ => Self::Wrong,
        }
    }

    /// Whether the contract asks to try again.
    pub(crate) fn is_retry(self) -> bool {
        matches!(self, Self::Limited | Self::Busy | Self::Broken)
    }
}

macro_rules! series {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What is timed.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Series { $($(#[$doc])* $name,)* }

        impl Series {
            /// Every series, as the table lists them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its line in the table, its name in the JSON.
            pub(crate) fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

series! {
    /// From the intended click to the ticket.
    Ticket = "ticket";
    /// From sending the order to its 202.
    Order = "order (202)";
    /// From the intended click to the 202.
    Click = "click to 202";
    /// From sending a purchase request to its refusal.
    Refusal = "refusal";
}

/// Units that buyers wanted, by how their story ended.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Accepted, or refused for want of stock: what the sale could have sold.
    pub(crate) demand: AtomicU64,
    /// Given up without an answer that tells whether units were taken.
    pub(crate) unknown: AtomicU64,
}

/// All counters of a run; shared by all its tasks.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: [AtomicU64; Kind::ALL.len()],
    latency_us: [Mutex<Histogram<u64>>; Series::ALL.len()],
    refused_as: Mutex<BTreeMap<String, u64>>,
    /// Units wanted.
    pub(crate) wishes: Wishes,
}

impl Tally {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        let histogram = || {
            let empty = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
            Mutex::new(empty.expect("the bounds are constants that a histogram takes"))
        };
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            latency_us: std::array::from_fn(|_| histogram()),
            refused_as: Mutex::default(),
            wishes: Wishes::default(),
        }
    }

    /// Counts an answer.
    pub(crate) fn count(&self, kind: Kind) {
        self.counts[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers what a rare answer said: its status and its problem's code.
    pub(crate) fn explain(&self, kind: Kind, status: u16, answer: &[u8]) {
        if !matches!(kind, Kind::TooOld | Kind::Refused | Kind::Wrong | Kind::Closed) {
            return;
        }
        let code = body::text(answer, "code").unwrap_or_default();
        let mut refused = self.refused_as.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < CODES_MAX {
            *refused.entry(format!("{status} {code}")).or_default() += 1;
        }
    }

    /// The rare answers by status and code.
    pub(crate) fn explained(&self) -> BTreeMap<String, u64> {
        self.refused_as.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many answers of this kind came.
    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.counts[kind as usize].load(Ordering::Relaxed)
    }

    /// All answers and broken exchanges.
    pub(crate) fn requests(&self) -> u64 {
        self.counts.iter().map(|c| c.load(Ordering::Relaxed)).sum()
    }

    /// Records a latency.
    pub(crate) fn time(&self, series: Series, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX);
        let mut histogram = self.latency_us[series as usize].lock().unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record(us.max(1));
    }

    /// Reads a series.
    pub(crate) fn latency<T>(&self, series: Series, read: impl FnOnce(&Histogram<u64>) -> T) -> T {
        read(&self.latency_us[series as usize].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A buyer's wish ended with a 202 or for want of stock.
    pub(crate) fn demanded(&self, units: u32) {
        self.wishes.demand.fetch_add(units.into(), Ordering::Relaxed);
    }

    /// A buyer gave up not knowing.
    pub(crate) fn unknown(&self, units: u32) {
        self.wishes.unknown.fetch_add(units.into(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_status_and_code() {
        let problem = |code| serde_json::to_vec(&contract::Problem::new(code, "x")).unwrap();
        let kind = |code: contract::Code| Kind::of_purchase(202, code.status(), &problem(code));
        assert_eq!(kind(contract::Code::SoldOut), Kind::SoldOut);
        assert_eq!(kind(contract::Code::NotEnough), Kind::NotEnough);
        assert_eq!(kind(contract::Code::LimitReached), Kind::Limit);
        assert_eq!(kind(contract::Code::TicketMismatch), Kind::Refused);
        assert_eq!(kind(contract::Code::InvalidTicket), Kind::TooOld);
        assert_eq!(kind(contract::Code::InvalidTicket).at_once(), Kind::Refused);
        assert_eq!(kind(contract::Code::SoldOut).at_once(), Kind::SoldOut);
        assert_eq!(kind(contract::Code::Internal), Kind::Wrong);
        assert_eq!(kind(contract::Code::RateLimited), Kind::Limited);
        assert_eq!(kind(contract::Code::Overloaded), Kind::Busy);
        assert_eq!(Kind::of_purchase(202, 202, b""), Kind::Accepted);
        assert_eq!(Kind::of_purchase(202, 200, b""), Kind::Wrong, "an order is a 202 or nothing");
    }

    #[test]
    fn rare_answers_are_told_by_their_code() {
        let tally = Tally::new();
        let problem =
            serde_json::to_vec(&contract::Problem::new(contract::Code::InvalidTicket, "x")).unwrap();
        tally.explain(Kind::Refused, 422, &problem);
        tally.explain(Kind::Refused, 422, &problem);
        tally.explain(Kind::SoldOut, 409, b"");
        let told: Vec<(String, u64)> = tally.explained().into_iter().collect();
        assert_eq!(told, [("422 invalid_ticket".to_owned(), 2)]);
    }

    #[test]
    fn counts_and_latencies_add_up() {
        let tally = Tally::new();
        tally.count(Kind::Ticket);
        tally.count(Kind::Broken);
        assert_eq!((tally.requests(), tally.of(Kind::Ticket)), (2, 1));
        tally.time(Series::Order, Duration::from_millis(5));
        tally.time(Series::Order, Duration::from_secs(100_000));
        assert_eq!(tally.latency(Series::Order, Histogram::len), 2);
    }
}
