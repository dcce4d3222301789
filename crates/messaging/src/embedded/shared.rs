//! What the broker's handles and its writer both see.

use std::collections::HashMap;
use std::sync::Arc;

use contract::api::QueueInfo;
use domain::Clock;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::queue::Queue;
use super::reader::Reader;
use crate::topology::Cause;

/// The queues, their readers, and the clock.
pub(super) struct Shared {
    pub(super) queues: Vec<Arc<Queue>>,
    pub(super) reader: Reader,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) letters: Mutex<HashMap<Cause, u64>>,
    /// Cancelled when the broker closes.
    pub(super) closing: CancellationToken,
}

impl Shared {
    /// The place of the queue with this number in the database.
    pub(super) fn place(&self, number: i64) -> Option<usize> {
        self.queues.iter().position(|q| q.number == number)
    }

    /// A queue's name by its number in the database.
    pub(super) fn name(&self, number: i64) -> String {
        self.place(number).map_or_else(|| format!("queue-{number}"), |at| self.queues[at].name.clone())
    }

    /// A queue as the admin listener shows it.
    pub(super) fn info(&self, place: usize) -> QueueInfo {
        let queue = &self.queues[place];
        let (depth, in_flight, consumers) = queue.counts();
        QueueInfo { name: queue.name.clone(), depth, consumers, in_flight }
    }
}
