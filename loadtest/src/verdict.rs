//! The verdict: did the platform keep what it promised? From the client's journal and the ledger.

mod collect;
mod judge;
#[cfg(test)]
mod judge_tests;

use contract::api::{Audit, Ledger};
use serde::Serialize;

use crate::journal::Account;

pub(crate) use collect::{at_rest, collect};
pub(crate) use judge::{ACCEPTED_IS_SOLD, judge};

/// What became of an accepted order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Not decided yet.
    Queued,
    /// Committed and payable.
    Pending,
    /// Paid.
    Paid,
    /// Cancelled, expired or refunded: its units went back.
    Returned,
    /// Refused by the ledger after it was accepted.
    Rejected,
    /// The platform does not know it.
    Lost,
    /// It could not be asked for.
    Unreadable,
    /// Not looked up (sampling).
    Unchecked,
}

impl Fate {
    /// The fate behind the contract's word for a status.
    pub(crate) fn of(status: &str) -> Self {
        match status {
            "queued" => Self::Queued,
            "pending_payment" => Self::Pending,
            "paid" => Self::Paid,
            "cancelled" | "expired" | "refunded" => Self::Returned,
            "rejected" => Self::Rejected,
            _ => Self::Unreadable,
        }
    }

    /// Whether the order holds units.
    pub(crate) fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Paid)
    }
}

/// Everything a verdict rests on.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The journal.
    pub(crate) account: Account,
    /// What became of each of its entries, in their order.
    pub(crate) fates: Vec<Fate>,
    /// The ledger, at rest or at the end of the patience.
    pub(crate) ledger: Ledger,
    /// The audit, after that.
    pub(crate) audit: Audit,
}

/// One promise, and whether it was kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Promise {
    /// What is promised.
    pub(crate) promise: String,
    /// Whether it held.
    pub(crate) held: bool,
    /// The numbers.
    pub(crate) detail: String,
}

impl Promise {
    /// A promise with its numbers.
    pub(crate) fn new(promise: &str, held: bool, detail: impl Into<String>) -> Self {
        Self { promise: promise.into(), held, detail: detail.into() }
    }
}

/// All promises of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Verdict {
    /// One line each.
    pub(crate) promises: Vec<Promise>,
}

impl Verdict {
    /// Whether every promise held; a verdict about nothing did not.
    pub(crate) fn passed(&self) -> bool {
        !self.promises.is_empty() && self.promises.iter().all(|p| p.held)
    }
}
