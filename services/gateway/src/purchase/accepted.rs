//! The tickets this gateway has reserved for: so that one that was accepted answers its 202 again,
//! and one that was not confirmed keeps its place.

use std::collections::HashMap;
use std::time::Duration;

use domain::OrderId;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Tables the tickets are spread over: threads seldom meet, and a sweep stops few.
const SHARDS: usize = 64;
/// Tickets a table remembers at most: what a hash table of 2¹⁵ places holds without growing. All
/// tables together then take 52 MB. A ticket that finds no place is not remembered: the store and the
/// ledger know it all the same, only more slowly.
const ENTRIES_PER_SHARD_MAX: usize = 28_672;

/// What is remembered of a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Units reserved.
    pub quantity: u32,
    /// Its sale's slot in the catalogue.
    pub slot: u32,
    /// Whether its 202 was earned: the queue confirmed its message. Otherwise it only holds a place.
    pub confirmed: bool,
    /// Whether its order's row was seen: nobody may be told any more that it is queued.
    pub has_row: bool,
}

/// 16 bytes: there are hundreds of thousands.
struct Entry {
    /// Bits of the order id that the key does not have.
    tag: u32,
    quantity: u32,
    /// The slot, and below it the marks.
    slot: u32,
    /// Seconds after the start of the process.
    ends_s: u32,
}

/// Marks of an entry, in the lowest bits of its slot.
const CONFIRMED: u32 = 0b01;
const HAS_ROW: u32 = 0b10;
const MARKS: u32 = 2;

impl Known {
    fn marks(self) -> u32 {
        (u32::from(self.confirmed) * CONFIRMED) | (u32::from(self.has_row) * HAS_ROW)
    }
}

impl Entry {
    fn known(&self) -> Known {
        let is = |mark| self.slot & mark == mark;
        Known {
            quantity: self.quantity,
            slot: self.slot >> MARKS,
            confirmed: is(CONFIRMED),
            has_row: is(HAS_ROW),
        }
    }
}

/// A part of the table, under a lock of its own.
#[derive(Default)]
struct Shard {
    entries: HashMap<u64, Entry>,
    /// When ended entries were last looked for, in seconds after the start of the process.
    swept_s: u32,
}

impl Shard {
    /// Makes room in a full table, if anything in it has ended. Looks once a second at most: a table full
    /// of what is still needed must not be searched for every ticket.
    fn make_room(&mut self, now_s: u32) {
        if self.swept_s != now_s {
            self.swept_s = now_s;
            self.entries.retain(|_, entry| entry.ends_s > now_s);
        }
    }
}

/// The tickets remembered.
pub struct Accepted {
    shards: Box<[Mutex<Shard>]>,
    started: Instant,
    keep: Duration,
}

impl Accepted {
    /// Remembers each ticket for `keep`.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, started: Instant::now(), keep }
    }

    /// What is known of the ticket with this order id.
    #[must_use]
    pub fn get(&self, order: OrderId) -> Option<Known> {
        let (key, tag) = split(order);
        let shard = self.shard(key).lock();
        let entry =
            shard.entries.get(&key).filter(|entry| entry.tag == tag && entry.ends_s > self.now_s())?;
        Some(entry.known())
    }

    /// Remembers a ticket. What was confirmed stays confirmed, and a row that was seen stays seen.
    pub fn remember(&self, order: OrderId, known: Known) {
        let (key, tag) = split(order);
        let now_s = self.now_s();
        let ends_s = now_s.saturating_add(u32::try_from(self.keep.as_secs()).unwrap_or(u32::MAX));
        let mut shard = self.shard(key).lock();
        if shard.entries.len() >= ENTRIES_PER_SHARD_MAX && !shard.entries.contains_key(&key) {
            shard.make_room(now_s);
            if shard.entries.len() >= ENTRIES_PER_SHARD_MAX {
                return;
            }
        }
        let before = shard.entries.get(&key).filter(|entry| entry.tag == tag);
        let marks = known.marks() | before.map_or(0, |entry| entry.known().marks());
        let slot = (known.slot << MARKS) | marks;
        shard.entries.insert(key, Entry { tag, quantity: known.quantity, slot, ends_s });
    }

    /// The row of a ticket's order was seen.
    pub fn saw_row(&self, order: OrderId) {
        let (key, tag) = split(order);
        let mut shard = self.shard(key).lock();
        if let Some(entry) = shard.entries.get_mut(&key).filter(|entry| entry.tag == tag) {
            entry.slot |= HAS_ROW;
        }
    }

    /// Forgets what has ended in one table of many; call often.
    pub fn tidy(&self, round: usize) {
        let now_s = self.now_s();
        let mut shard = self.shards[round % SHARDS].lock();
        shard.entries.retain(|_, entry| entry.ends_s > now_s);
        if shard.entries.capacity() > 4 * shard.entries.len() + 64 {
            shard.entries.shrink_to_fit();
        }
    }

    fn shard(&self, key: u64) -> &Mutex<Shard> {
        &self.shards[usize::from(key.to_le_bytes()[0]) % SHARDS]
    }

    fn now_s(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX)
    }
}

/// The random half of the id as key, and bits of the other half as tag.
fn split(order: OrderId) -> (u64, u32) {
    let bytes = order.to_bytes();
    let (mut key, mut tag) = ([0; 8], [0; 4]);
    key.copy_from_slice(&bytes[8..]);
    tag.copy_from_slice(&bytes[4..8]);
    (u64::from_be_bytes(key), u32::from_be_bytes(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::UnixMillis;

    fn order(n: u64) -> OrderId {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&n.to_le_bytes());
        OrderId::mint(UnixMillis(1_790_000_000_000), random)
    }

    fn known(confirmed: bool) -> Known {
        Known { quantity: 3, slot: 7, confirmed, has_row: false }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_known_as_it_was_left_until_it_ends() {
        let accepted = Accepted::new(Duration::from_secs(60));
        accepted.remember(order(1), known(false));
        assert_eq!(accepted.get(order(1)), Some(known(false)));
        accepted.remember(order(1), known(true));
        accepted.remember(order(1), known(false));
        assert_eq!(accepted.get(order(1)), Some(known(true)), "a confirm is not forgotten");
        assert_eq!(accepted.get(order(2)), None);
        accepted.saw_row(order(1));
        accepted.saw_row(order(2));
        accepted.remember(order(1), known(true));
        assert_eq!(accepted.get(order(1)), Some(Known { has_row: true, ..known(true) }));
        assert_eq!(accepted.get(order(2)), None, "only what was reserved for is remembered");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(accepted.get(order(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_empties_itself() {
        let accepted = Accepted::new(Duration::from_secs(60));
        for n in 0..(SHARDS * ENTRIES_PER_SHARD_MAX * 11 / 10) as u64 {
            accepted.remember(order(n), known(true));
        }
        let held = || accepted.shards.iter().map(|s| s.lock().entries.len()).sum::<usize>();
        assert!(held() <= SHARDS * ENTRIES_PER_SHARD_MAX);
        tokio::time::advance(Duration::from_secs(61)).await;
        (0..SHARDS).for_each(|round| accepted.tidy(round));
        assert_eq!(held(), 0);
    }
}
