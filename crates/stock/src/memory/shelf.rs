//! The records of a sale's reservations: by id, by age, and by when they may be forgotten.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use domain::{BuyerId, OrderId, ReservationId, UnixMillis};

use crate::port::Held;

/// Below this many entries the age queue is not worth compacting.
const AGE_QUEUE_SLACK: usize = 4096;

/// Where a reservation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Reserved,
    Settled,
    Released,
}

/// What is remembered of one reservation.
pub(super) struct Record {
    pub(super) buyer: BuyerId,
    pub(super) quantity: u32,
    pub(super) state: State,
    pub(super) reserved_at: UnixMillis,
    pub(super) expires_at: UnixMillis,
}

impl Record {
    pub(super) fn held(&self, id: ReservationId) -> Held {
        Held { id, buyer: self.buyer.clone(), quantity: self.quantity, reserved_at: self.reserved_at }
    }
}

/// 16 bytes, byte-aligned: half a million records are kept during a storm, so padding counts.
type Key = [u8; 16];

/// A reservation at the moment it was made, byte-aligned too. Its id may have been forgotten since, and
/// reserved once more: then this is not about the record that is there.
struct Aged {
    key: Key,
    late: bool,
    reserved_at: [u8; 8],
}

impl Aged {
    fn reserved_at(&self) -> UnixMillis {
        UnixMillis(i64::from_be_bytes(self.reserved_at))
    }

    fn is(&self, record: &Record) -> bool {
        record.state == State::Reserved && record.reserved_at == self.reserved_at()
    }
}

/// All records of a sale.
#[derive(Default)]
pub(super) struct Shelf {
    first: HashMap<Key, Record>,
    late: HashMap<Key, Record>,
    /// Reservations by age, oldest first; those that settled since are dropped at its head, and skipped behind it.
    by_age: VecDeque<Aged>,
    /// Released reservations by when their ticket expires.
    tombstones: BinaryHeap<Reverse<(UnixMillis, Key, bool)>>,
}

impl Shelf {
    fn side(&self, late: bool) -> &HashMap<Key, Record> {
        if late { &self.late } else { &self.first }
    }

    fn side_mut(&mut self, late: bool) -> &mut HashMap<Key, Record> {
        if late { &mut self.late } else { &mut self.first }
    }

    pub(super) fn get(&self, id: ReservationId) -> Option<&Record> {
        self.side(id.late).get(&id.order.to_bytes())
    }

    pub(super) fn get_mut(&mut self, id: ReservationId) -> Option<&mut Record> {
        self.side_mut(id.late).get_mut(&id.order.to_bytes())
    }

    /// Adds a record; false if the id has one already.
    pub(super) fn insert(&mut self, id: ReservationId, record: Record) -> bool {
        match self.side_mut(id.late).entry(id.order.to_bytes()) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(record);
                true
            }
        }
    }

    /// Notes a new reservation by age. `reservations` is how many are unsettled: when the queue has
    /// grown far beyond them, the settled ones in it are dropped.
    pub(super) fn queue_for_fencing(&mut self, id: ReservationId, made: UnixMillis, reservations: u64) {
        let (key, reserved_at) = (id.order.to_bytes(), made.0.to_be_bytes());
        self.by_age.push_back(Aged { key, late: id.late, reserved_at });
        let worth_keeping = usize::try_from(reservations).unwrap_or(usize::MAX).saturating_mul(2);
        if self.by_age.len() > worth_keeping.saturating_add(AGE_QUEUE_SLACK) {
            let (first, late) = (&self.first, &self.late);
            self.by_age.retain(|aged| {
                let side = if aged.late { late } else { first };
                side.get(&aged.key).is_some_and(|record| aged.is(record))
            });
            self.by_age.shrink_to(AGE_QUEUE_SLACK);
        }
    }

    /// The oldest unsettled reservations made before `before`.
    pub(super) fn reserved_before(&mut self, before: UnixMillis, limit: usize) -> Vec<Held> {
        // Once a sale is sold out nothing is added, and settled ones would be walked over again and again.
        while self.by_age.front().is_some_and(|aged| !self.is_reserved(aged)) {
            self.by_age.pop_front();
        }
        let mut found = Vec::new();
        for aged in &self.by_age {
            if aged.reserved_at() > before || found.len() == limit {
                break;
            }
            let Some(record) = self.side(aged.late).get(&aged.key) else { continue };
            if aged.is(record) {
                let order = OrderId::from_bytes(aged.key);
                found.push(record.held(ReservationId { order, late: aged.late }));
            }
        }
        found
    }

    fn is_reserved(&self, aged: &Aged) -> bool {
        self.side(aged.late).get(&aged.key).is_some_and(|record| aged.is(record))
    }

    /// Keeps a released record, as a tombstone, until its ticket can no longer be used.
    pub(super) fn remember_until_expiry(&mut self, id: ReservationId) {
        if let Some(record) = self.get(id) {
            let entry = Reverse((record.expires_at, id.order.to_bytes(), id.late));
            self.tombstones.push(entry);
        }
    }

    /// Drops the tombstones whose ticket has expired.
    pub(super) fn forget_expired(&mut self, now: UnixMillis) {
        while let Some(Reverse((expires_at, key, late))) = self.tombstones.peek().copied() {
            if expires_at > now {
                break;
            }
            self.tombstones.pop();
            self.side_mut(late).remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One unit, `n` milliseconds after the first; so many are unsettled then.
    fn reserve(shelf: &mut Shelf, n: u16, unsettled: u64) {
        let made = UnixMillis(i64::from(n));
        let record = Record {
            buyer: "alice".parse().unwrap(),
            quantity: 1,
            state: State::Reserved,
            reserved_at: made,
            expires_at: made.plus(1_000),
        };
        assert!(shelf.insert(id(n), record));
        shelf.queue_for_fencing(id(n), made, unsettled);
    }

    fn id(n: u16) -> ReservationId {
        ReservationId::first(OrderId::from_bytes(u128::from(n).to_be_bytes()))
    }

    fn settle(shelf: &mut Shelf, n: u16) {
        shelf.get_mut(id(n)).unwrap().state = State::Settled;
    }

    #[test]
    fn what_has_settled_is_not_walked_over_twice() {
        let mut shelf = Shelf::default();
        (0..100).for_each(|n| reserve(&mut shelf, n, u64::from(n) + 1));
        (0..60).for_each(|n| settle(&mut shelf, n));
        let stale: Vec<_> = shelf.reserved_before(UnixMillis(61), 10).iter().map(|held| held.id).collect();
        assert_eq!(stale, [id(60), id(61)]);
        assert_eq!(shelf.by_age.len(), 40);
        (60..100).for_each(|n| settle(&mut shelf, n));
        assert!(shelf.reserved_before(UnixMillis(1_000), 10).is_empty() && shelf.by_age.is_empty());
    }

    #[test]
    fn a_storm_that_settles_as_it_sells_leaves_no_long_queue() {
        let (mut shelf, mut longest) = (Shelf::default(), 0);
        for n in 0..3 * u16::try_from(AGE_QUEUE_SLACK).unwrap() {
            reserve(&mut shelf, n, 1);
            settle(&mut shelf, n);
            longest = longest.max(shelf.by_age.len());
        }
        assert_eq!(longest, AGE_QUEUE_SLACK + 2);
    }
}
