//! Sales whose stock store and ledger say different things while nothing is under way: an event was lost for good.

use std::collections::HashMap;
use std::time::Duration;

use contract::internal::AllocationView;
use domain::{SaleId, UnixMillis};
use stock::Snapshot;
use tokio::time::Instant;

/// How long both sides must disagree and stand still, in milliseconds. While the broker is there, every bound on an
/// event's way is shorter.
const STANDS_STILL_MS: u64 = 60_000;
/// Looks in which they must, at least: two of them may be long apart.
const LOOKS_MIN: u32 = 5;

/// Whether both sides of a sale agree, with nothing under way: I3, for this moment.
pub(crate) fn is_consistent(allocation: &AllocationView, snapshot: &Snapshot) -> bool {
    let units = u64::from(snapshot.free) + u64::from(snapshot.reserved) + u64::from(snapshot.settled);
    snapshot.view.epoch == allocation.epoch
        && snapshot.total == allocation.total
        && units == u64::from(allocation.total)
        && snapshot.reserved == 0
        && snapshot.settled == allocation.counts.taken
}

/// The sales found disagreeing, until they agree or move.
#[derive(Default)]
pub(crate) struct Disagreements(HashMap<SaleId, Disagreement>);

struct Disagreement {
    sides: (AllocationView, Snapshot),
    since: Instant,
    looks: u32,
}

impl Disagreements {
    /// Takes one look at both sides. True, once, when they have disagreed and stood still for so long that no event can
    /// be on its way any more. A single lost event is thereby mended; the ledger is right in any case.
    pub(crate) fn is_for_good(
        &mut self,
        sale: &SaleId,
        allocation: &AllocationView,
        snapshot: &Snapshot,
    ) -> bool {
        if snapshot.reserved > 0 || is_consistent(allocation, snapshot) {
            self.forget(sale);
            return false;
        }
        let mut sides = (allocation.clone(), *snapshot);
        // Time goes on while they stand still.
        sides.1.view.now = UnixMillis(0);
        let begun = || Disagreement { sides: sides.clone(), since: Instant::now(), looks: 0 };
        let known = self.0.entry(sale.clone()).or_insert_with(begun);
        if known.sides != sides {
            *known = begun();
        }
        known.looks += 1;
        if known.looks < LOOKS_MIN || known.since.elapsed() < Duration::from_millis(STANDS_STILL_MS) {
            return false;
        }
        self.forget(sale);
        true
    }

    /// The sale's time begins anew: it could not be looked at, or an event may be on its way.
    pub(crate) fn forget(&mut self, sale: &SaleId) {
        self.0.remove(sale);
    }
}

#[cfg(test)]
mod tests {
    use contract::api::OrderCounts;
    use contract::events::Change;
    use domain::{Epoch, Phase, StateInputs};
    use stock::SaleView;

    use super::*;

    /// One look at a sale of ten units, at this moment of the store's clock.
    fn look(found: &mut Disagreements, (taken, settled, reserved): (u32, u32, u32), at: i64) -> bool {
        let allocation = AllocationView {
            sale: "lamp".parse().unwrap(),
            total: 10,
            total_version: 1,
            epoch: Epoch(1),
            counts: OrderCounts { taken, ..OrderCounts::default() },
        };
        let free = 10 - settled - reserved;
        let inputs =
            StateInputs { phase: Phase::Active, opens_at: UnixMillis(0), ends_at: UnixMillis(1), free };
        let change = Change { epoch: 1, n: 1 };
        let view = SaleView { now: UnixMillis(at), inputs, epoch: Epoch(1), change };
        let reservations = u64::from(reserved);
        let snapshot = Snapshot { view, free, reserved, reservations, settled, total: 10, total_version: 1 };
        found.is_for_good(&allocation.sale.clone(), &allocation, &snapshot)
    }

    /// How often a sale is found out that looks like this for so many seconds, with a look every two.
    async fn found_in(found: &mut Disagreements, seconds: u64, units: (u32, u32, u32)) -> u32 {
        let mut times = 0;
        for second in (0..seconds).step_by(2) {
            times += u32::from(look(found, units, i64::try_from(second).unwrap()));
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn stores_that_disagree_and_stand_still_for_long_are_found_out_and_nobody_else_is() {
        let mut found = Disagreements::default();
        assert_eq!(found_in(&mut found, 180, (4, 4, 0)).await, 0, "they agree");
        assert_eq!(found_in(&mut found, 180, (4, 3, 1)).await, 0, "an order is under way");
        assert_eq!(found_in(&mut found, 60, (4, 5, 0)).await, 0, "a release may be on its way");
        assert_eq!(found_in(&mut found, 60, (3, 5, 0)).await, 0, "something moved");
        assert_eq!(found_in(&mut found, 2, (3, 3, 0)).await, 0, "it came");
        assert_eq!(found_in(&mut found, 62, (3, 4, 0)).await, 1, "it never will");
    }

    #[tokio::test(start_paused = true)]
    async fn neither_many_looks_in_a_short_time_nor_two_far_apart_are_enough() {
        let mut found = Disagreements::default();
        assert!((0..1_000).all(|at| !look(&mut found, (3, 4, 0), at)), "the rounds are short");
        tokio::time::advance(Duration::from_secs(60)).await;
        found.forget(&"lamp".parse().unwrap());
        for at in 1..i64::from(LOOKS_MIN) {
            assert!(!look(&mut found, (3, 4, 0), at), "the rounds are long");
            tokio::time::advance(Duration::from_secs(3_600)).await;
        }
        assert!(look(&mut found, (3, 4, 0), 0));
    }
}
