//! The referee's books: what the stock store would hold, folded from the events.

use std::collections::HashSet;

use domain::ReservationId;
use order::order_store::OutboxRow;

/// Reservations by the events, in any order of arrival: a release is final.
#[derive(Default)]
pub(crate) struct StockByEvents {
    settled: HashSet<ReservationId>,
    released: HashSet<ReservationId>,
}

impl StockByEvents {
    pub(crate) fn hear(&mut self, row: &OutboxRow) {
        let set = if row.event.kind.holds_units() { &mut self.settled } else { &mut self.released };
        set.extend(row.event.orders.iter().map(|fact| fact.reservation));
    }

    /// Units held; every order has one.
    pub(crate) fn held(&self) -> usize {
        self.settled.difference(&self.released).count()
    }
}
