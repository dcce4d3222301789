//! How much of a batch goes into one transaction.

use std::time::Duration;

use service_kit::Backoff;
use tokio_util::sync::CancellationToken;

/// Waiting time before a batch is tried again during an outage, in milliseconds; doubled each time.
const OUTAGE_RETRY_MS: u64 = 50;
/// The longest such wait, in milliseconds.
const OUTAGE_RETRY_MS_MAX: u64 = 1_000;
/// A transaction that took no longer than this is followed by one of twice the size, in milliseconds: that one, too,
/// stays far within what a call to the store may take.
const QUICK_MS_MAX: u64 = 2_000;
/// After one that took longer, the next is larger by this part of it: what is slow may be so whatever its size, and a
/// lane must not stay small for ever.
const SLOW_GROWTH_PART: usize = 8;

/// A lane's pace, kept from batch to batch.
///
/// A transaction that is too much for the store within its limits fails just as one does while the store is away, and
/// would fail again, for ever. The two cannot be told apart for certain, so after either the next one is half as large.
/// What is committed lets it grow again: at once after an outage, bit by bit while the store is slow.
pub(super) struct Pace {
    most: usize,
    messages: usize,
    backoff: Backoff,
}

impl Pace {
    /// Begins with as much as there may ever be.
    pub(super) fn up_to(most: usize) -> Self {
        let backoff = Backoff::new(OUTAGE_RETRY_MS, OUTAGE_RETRY_MS_MAX);
        Self { most: most.max(1), messages: most.max(1), backoff }
    }

    /// Messages of the next transaction at most.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// So many messages were committed, within this time.
    pub(super) fn committed(&mut self, messages: usize, within: Duration) {
        self.backoff.reset();
        // A few of them are always quick, and tell nothing about many.
        if messages < self.messages {
            return;
        }
        let quick = within <= Duration::from_millis(QUICK_MS_MAX);
        let more = if quick { self.messages } else { self.messages / SLOW_GROWTH_PART + 1 };
        self.messages = self.messages.saturating_add(more).min(self.most);
    }

    /// So many messages were not committed.
    pub(super) fn failed(&mut self, messages: usize) {
        self.messages = (messages / 2).max(1);
    }

    /// Waits before the next attempt; `None` if `shutdown` came first.
    pub(super) async fn wait(&mut self, shutdown: &CancellationToken) -> Option<()> {
        self.backoff.wait(shutdown).await.then_some(())
    }
}
