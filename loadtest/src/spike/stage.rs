//! What all buyers of a spike share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cli::SpikeArgs;
use crate::clock::Clock;
use crate::journal::Journal;
use crate::platform::Platform;
use crate::random::Random;
use crate::tally::Tally;
use crate::venue::Venue;

/// What buyers did after their 202.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Payments the sandbox took.
    pub(super) paid: AtomicU64,
    /// Orders cancelled.
    pub(super) cancelled: AtomicU64,
}

/// The stage.
#[derive(Debug)]
pub(super) struct Stage {
    /// Shares of each habit.
    pub(super) args: SpikeArgs,
    /// Where it plays.
    pub(super) platform: Platform,
    /// The sale.
    pub(super) sale: String,
    /// What was promised.
    pub(super) journal: Journal,
    /// What was answered.
    pub(super) tally: Arc<Tally>,
    /// What was done.
    pub(super) done: Done,
    prefix: String,
    next: AtomicU64,
    buying: AtomicU64,
}

impl Stage {
    /// A stage nobody has entered.
    pub(super) fn new(
        args: SpikeArgs,
        clock: &Clock,
        platform: Platform,
        venue: &Venue,
        journal: Journal,
    ) -> Self {
        Self {
            args,
            platform,
            sale: venue.head.sale.clone(),
            journal,
            tally: Arc::new(Tally::new()),
            done: Done::default(),
            prefix: format!("spike-{}-", clock.now_ms()),
            next: AtomicU64::new(0),
            buying: AtomicU64::new(0),
        }
    }

    /// The next buyer and their chances; none when all have been played.
    pub(super) fn next_buyer(&self) -> Option<(String, Random)> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < self.args.buyers).then(|| (self.name(index), Random::of(self.args.target.seed, index)))
    }

    /// A buyer's name.
    pub(super) fn name(&self, index: u64) -> String {
        format!("{}{index}", self.prefix)
    }

    /// A buyer has signed in and found the gate open.
    pub(super) fn began_to_buy(&self) {
        self.buying.fetch_add(1, Ordering::Relaxed);
    }

    /// Buyers who came as far as buying.
    pub(super) fn played(&self) -> u64 {
        self.buying.load(Ordering::Relaxed)
    }
}
