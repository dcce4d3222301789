//! The order store's own guard: how many units a sale may take, whatever the stock store believes.

use std::collections::{HashMap, HashSet};

use crate::{BuyerId, Epoch, OrderId};

/// A sale's allocation, as read under its row lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allocation {
    /// Units the sale may take in all.
    pub total: u32,
    /// Units its live orders hold.
    pub taken: u32,
    /// The generation of stock state whose messages still count.
    pub epoch: Epoch,
    /// Live units one buyer may hold.
    pub per_user_limit: u32,
}

/// An order's claim on units, as its message carries it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The order.
    pub order: OrderId,
    /// Who wants the units.
    pub buyer: BuyerId,
    /// How many.
    pub quantity: u32,
    /// The generation of stock state the units were reserved in.
    pub epoch: Epoch,
}

/// Why the ledger refuses a claim. The refusal is itself a row, so that its buyer can read it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rejection {
    /// Reserved in a stock state that has since been lost and rebuilt.
    OldEpoch,
    /// The buyer's live units would exceed the limit.
    BuyerLimit,
    /// The sale has not that many units left.
    NoUnits,
    /// Its message did not come in time; a fence took its place.
    Fenced,
}

impl Rejection {
    /// A stable word for rows and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OldEpoch => "old_epoch",
            Self::BuyerLimit => "buyer_limit",
            Self::NoUnits => "no_units",
            Self::Fenced => "fenced",
        }
    }
}

/// What the ledger does with one claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The id already has a row: nothing to do.
    Duplicate,
    /// Insert it as payable; its units count as taken.
    Take,
    /// Insert it as rejected.
    Reject(Rejection),
}

/// Decides one sale's claims of a batch, in lane order: first come, first served.
///
/// `known` are the ids that already have a row; `live_units` the units each buyer of the batch
/// holds before it. Both must have been read under the allocation's row lock.
#[must_use]
pub fn decide(
    allocation: &Allocation,
    claims: &[Claim],
    known: &HashSet<OrderId>,
    live_units: &HashMap<BuyerId, u32>,
) -> Vec<Decision> {
    let mut seen = HashSet::with_capacity(claims.len());
    let mut held: HashMap<&BuyerId, u32> = HashMap::with_capacity(claims.len());
    let mut left = allocation.total.saturating_sub(allocation.taken);
    let mut one = |claim: &'_ Claim, held: &mut u32| {
        if known.contains(&claim.order) || !seen.insert(claim.order) {
            return Decision::Duplicate;
        }
        if claim.epoch != allocation.epoch {
            return Decision::Reject(Rejection::OldEpoch);
        }
        if held.saturating_add(claim.quantity) > allocation.per_user_limit {
            return Decision::Reject(Rejection::BuyerLimit);
        }
        if claim.quantity > left {
            return Decision::Reject(Rejection::NoUnits);
        }
        left -= claim.quantity;
        *held += claim.quantity;
        Decision::Take
    };
    claims
        .iter()
        .map(|claim| {
            let before = live_units.get(&claim.buyer).copied().unwrap_or(0);
            one(claim, held.entry(&claim.buyer).or_insert(before))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UnixMillis;

    const ALLOCATION: Allocation = Allocation { total: 3, taken: 0, epoch: Epoch(2), per_user_limit: 2 };

    fn claim(n: u8, buyer: &str, quantity: u32) -> Claim {
        let order = OrderId::mint(UnixMillis(1), [n; 10]);
        Claim { order, buyer: buyer.parse().unwrap(), quantity, epoch: Epoch(2) }
    }

    fn run(claims: &[Claim]) -> Vec<Decision> {
        decide(&ALLOCATION, claims, &HashSet::new(), &HashMap::new())
    }

    #[test]
    fn units_go_in_lane_order_and_never_beyond_the_total() {
        let got = run(&[claim(1, "a", 2), claim(2, "b", 2), claim(3, "c", 1)]);
        assert_eq!(got, [Decision::Take, Decision::Reject(Rejection::NoUnits), Decision::Take]);
    }

    #[test]
    fn a_buyers_units_add_up_within_the_batch_and_with_what_they_hold() {
        let got = run(&[claim(1, "a", 1), claim(2, "a", 2), claim(3, "a", 1)]);
        assert_eq!(got, [Decision::Take, Decision::Reject(Rejection::BuyerLimit), Decision::Take]);
        let holds = HashMap::from([("a".parse().unwrap(), 2)]);
        let got = decide(&ALLOCATION, &[claim(1, "a", 1)], &HashSet::new(), &holds);
        assert_eq!(got, [Decision::Reject(Rejection::BuyerLimit)]);
    }

    #[test]
    fn a_known_id_does_nothing_even_twice_in_one_batch() {
        let twice = claim(1, "a", 1);
        assert_eq!(run(&[twice.clone(), twice.clone()]), [Decision::Take, Decision::Duplicate]);
        let known = HashSet::from([twice.order]);
        assert_eq!(decide(&ALLOCATION, &[twice], &known, &HashMap::new()), [Decision::Duplicate]);
    }

    #[test]
    fn another_epoch_is_refused_whether_older_or_newer() {
        for epoch in [1, 3] {
            let stale = Claim { epoch: Epoch(epoch), ..claim(1, "a", 1) };
            assert_eq!(run(&[stale]), [Decision::Reject(Rejection::OldEpoch)]);
        }
    }
}
