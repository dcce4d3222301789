//! Who races whom, drawn from a seed; and who won how often.

use std::collections::BTreeMap;

/// A small generator (SplitMix64): the same seed plans the same races.
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// What races on one order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Race {
    PayExpire,
    PayCancel,
    CancelExpire,
    RefundRefund,
    LatePayFence,
}

/// How often the first and the second of each race won.
#[derive(Default)]
pub(crate) struct Scores(BTreeMap<Race, [u64; 2]>);

impl Scores {
    pub(crate) fn count(&mut self, race: Race, second_won: bool) {
        self.0.entry(race).or_default()[usize::from(second_won)] += 1;
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().flatten().sum()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (String, [u64; 2])> {
        self.0.iter().map(|(race, won)| (format!("{race:?}"), *won))
    }
}
