//! What keyed limits remember, in a table that cannot grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::nanos::Nanos;
use governor::state::StateStore;
use parking_lot::Mutex;

/// Parts the table is divided into, each under its own lock and with memory of its own.
pub(crate) const SHARDS: usize = 64;
/// Places a key can have.
const WAYS: usize = 8;

/// A key and when it will have its whole allowance again; 16 bytes.
#[derive(Clone, Copy, Default)]
struct Place {
    key: u64,
    /// Nanoseconds since 1970; zero marks a free place.
    full_at: u64,
}

#[derive(Default)]
struct Shard {
    /// Without memory until a key comes, and again once all have gone.
    places: Vec<Place>,
    used: usize,
}

/// The states of at most a fixed number of keys.
///
/// A key has a few possible places. When all are taken, the one whose key is nearest to having its
/// whole allowance again is given away: most often it has it already and nothing is lost. So whatever
/// number of junk keys comes, an honest key is never refused because of them: at worst a key is forgotten
/// that was hardly limited, while those that hammer are remembered longest.
pub(crate) struct Table {
    shards: Box<[Mutex<Shard>]>,
    places_per_shard: usize,
    /// Keys given up before they had their whole allowance again.
    pub(crate) evicted: AtomicU64,
}

impl Table {
    /// A table of about this many keys, rounded up.
    #[must_use]
    pub(crate) fn new(keys_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            places_per_shard: keys_max.div_ceil(SHARDS).next_multiple_of(WAYS),
            evicted: AtomicU64::new(0),
        }
    }

    /// Forgets the keys of one shard that have their whole allowance again.
    pub(crate) fn tidy(&self, shard: usize, now: Nanos) {
        let mut shard = self.shards[shard % SHARDS].lock();
        if shard.used == 0 {
            return;
        }
        let mut used = 0;
        for place in &mut shard.places {
            if place.full_at <= now.as_u64() {
                *place = Place::default();
            } else {
                used += 1;
            }
        }
        shard.used = used;
        if used == 0 {
            shard.places = Vec::new();
        }
    }

    /// Gives a key its whole allowance again at this moment, if it would have it later.
    pub(crate) fn full_by(&self, key: u64, latest: Nanos) {
        let (shard, bucket) = split(key, self.places_per_shard / WAYS);
        let mut shard = self.shards[shard].lock();
        let places = shard.places.iter_mut().skip(bucket * WAYS).take(WAYS);
        for place in places.filter(|place| place.key == key) {
            place.full_at = place.full_at.min(latest.as_u64());
        }
    }

    /// Forgets all keys.
    pub(crate) fn clear(&self) {
        self.shards.iter().for_each(|shard| *shard.lock() = Shard::default());
    }

    /// Keys tracked now.
    #[must_use]
    pub(crate) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().used).sum()
    }
}

/// A share of a table, as one limiter's store.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<Table>);

impl StateStore for Shared {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Self(table) = self;
        let (shard, bucket) = split(*key, table.places_per_shard / WAYS);
        let mut shard = table.shards[shard].lock();
        if shard.places.is_empty() {
            shard.places = vec![Place::default(); table.places_per_shard];
        }
        let places = &mut shard.places[bucket * WAYS..(bucket + 1) * WAYS];
        if let Some(own) = places.iter_mut().find(|place| place.key == *key && place.full_at > 0) {
            let (outcome, full_at) = measure(Some(own.full_at.into()))?;
            own.full_at = full_at.as_u64();
            return Ok(outcome);
        }
        let (outcome, full_at) = measure(None)?;
        let Some(given) = places.iter_mut().min_by_key(|place| place.full_at) else { return Ok(outcome) };
        let before = std::mem::replace(given, Place { key: *key, full_at: full_at.as_u64() });
        match before.full_at {
            0 => shard.used += 1,
            // A lower bound of now: one request earlier than the new key is full again.
            was if was > full_at.as_u64() => {
                table.evicted.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        Ok(outcome)
    }
}

/// A key's shard and bucket, of bits that have nothing to do with each other.
fn split(key: u64, buckets: usize) -> (usize, usize) {
    let bytes = key.to_le_bytes();
    let high = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    let bucket = (u64::from(high) * buckets as u64) >> 32;
    (usize::from(bytes[0]) % SHARDS, usize::try_from(bucket).unwrap_or(0))
}
