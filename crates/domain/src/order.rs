//! The order's state machine.

use std::fmt;
use std::str::FromStr;

/// Where an order stands. `Queued` is a reservation whose row does not exist yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OrderStatus {
    /// Accepted; the consumer has not committed it yet.
    Queued,
    /// Committed; the buyer has until `pay_by`.
    PendingPayment,
    /// Paid.
    Paid,
    /// Cancelled by the buyer before payment.
    Cancelled,
    /// Not paid in time.
    Expired,
    /// Refused by the ledger (no units, limit, old epoch, fenced).
    Rejected,
    /// Paid, then paid back.
    Refunded,
}

impl OrderStatus {
    /// Every status, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::PendingPayment,
        Self::Paid,
        Self::Cancelled,
        Self::Expired,
        Self::Rejected,
        Self::Refunded,
    ];

    /// The contract's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::PendingPayment => "pending_payment",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Refunded => "refunded",
        }
    }

    /// Whether the order holds units of the allocation.
    #[must_use]
    pub fn holds_units(self) -> bool {
        matches!(self, Self::PendingPayment | Self::Paid)
    }

    /// Whether a buyer has nothing more to wait for. Paid and expired orders can still change
    /// (refund, late payment), but not by waiting.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::PendingPayment)
    }

    /// Whether the state machine has this edge.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use OrderStatus::{Cancelled, Expired, Paid, PendingPayment, Queued, Refunded, Rejected};
        matches!(
            (self, next),
            (Queued, PendingPayment | Rejected)
                | (PendingPayment, Paid | Cancelled | Expired)
                | (Paid, Refunded)
                | (Expired, Paid)
        )
    }
}

/// A word that is no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown order status {0:?}")]
pub struct UnknownStatus(pub String);

impl FromStr for OrderStatus {
    type Err = UnknownStatus;
    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| UnknownStatus(text.into()))
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for status in OrderStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("done".parse::<OrderStatus>().is_err());
    }

    #[test]
    fn a_cancel_never_overtakes_a_payment() {
        assert!(!OrderStatus::Paid.may_become(OrderStatus::Cancelled));
        assert!(!OrderStatus::Cancelled.may_become(OrderStatus::Paid));
        assert!(OrderStatus::Expired.may_become(OrderStatus::Paid), "a late payment may still win");
    }
}
