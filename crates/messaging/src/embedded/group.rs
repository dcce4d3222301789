//! A group: the operations that one commit carries.

use domain::UnixMillis;
use tokio::sync::oneshot;

use super::index::Index;
use super::queue::Message;
use super::routes::Targets;
use super::shared::Shared;
use crate::topology::{MESSAGE_BYTES_MAX, Overflow};
use crate::{PublishError, QueueError};

/// Operations of one group.
const GROUP_OPERATIONS_MAX: usize = 4_096;
/// A group of fewer is followed by the next without a wait: these are not many publishers, but few
/// that wait for each other.
const CROWD_OPERATIONS_MIN: usize = 8;
/// Bytes of bodies of one group (and one message more).
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Bits of an index entry that hold a body's length; the statement in `store.rs` repeats them.
pub(super) const LENGTH_BITS: u32 = 24;

const _: () = assert!(MESSAGE_BYTES_MAX < 1 << LENGTH_BITS);

/// Tells a publisher how it went.
pub(super) type Confirm = oneshot::Sender<Result<(), PublishError>>;
/// Tells anyone else.
pub(super) type Done = oneshot::Sender<Result<(), QueueError>>;

/// What the writer is asked to do.
pub(super) enum Operation {
    /// Put a message into queues: into all of them, or none.
    Publish { to: Targets, body: Vec<u8>, confirm: Confirm },
    /// Delete acknowledged messages: ranges of row ids.
    Acknowledge(Vec<(i64, i64)>),
    /// Move a delivered message to the dead letters as *rejected*.
    Reject { row: i64, done: Done },
    /// Move the messages of a queue that may not be delivered any more to the dead letters.
    Sweep { place: usize, done: Done },
    /// Put a dead letter back.
    Replay { letter: i64, done: Done },
    /// Finish what waits, and close.
    Close,
}

/// The operations of one commit, by kind.
#[derive(Default)]
pub(super) struct Group {
    publishes: Vec<(Targets, Vec<u8>, Confirm)>,
    pub(super) acknowledged: Vec<(i64, i64)>,
    pub(super) rejects: Vec<(i64, Done)>,
    pub(super) sweeps: Vec<(usize, Done)>,
    pub(super) replays: Vec<(i64, Done)>,
    pub(super) closes: bool,
    operations: usize,
    bytes: usize,
}

/// The part of a group that is written first, and what follows from its commit.
#[derive(Default)]
pub(super) struct Batch {
    /// The bodies, one after the other, and where each row's is.
    pub(super) bodies: Vec<u8>,
    pub(super) index: Index,
    pub(super) at: UnixMillis,
    /// The new messages, by place of their queue.
    pub(super) messages: Vec<Vec<Message>>,
    pub(super) confirms: Vec<Confirm>,
}

impl Group {
    /// Whether it is worth while to let the next group gather.
    pub(super) fn is_crowd(&self) -> bool {
        self.operations >= CROWD_OPERATIONS_MIN
    }

    /// Adds an operation.
    pub(super) fn add(&mut self, operation: Operation) {
        self.operations += 1;
        match operation {
            Operation::Publish { to, body, confirm } => {
                self.bytes += body.len();
                self.publishes.push((to, body, confirm));
            }
            Operation::Acknowledge(ranges) => self.acknowledged.extend(ranges),
            Operation::Reject { row, done } => self.rejects.push((row, done)),
            Operation::Sweep { place, done } => self.sweeps.push((place, done)),
            Operation::Replay { letter, done } => self.replays.push((letter, done)),
            Operation::Close => self.closes = true,
        }
    }

    /// Whether one more operation fits.
    pub(super) fn has_room(&self) -> bool {
        self.operations < GROUP_OPERATIONS_MAX && self.bytes < GROUP_BYTES_MAX
    }

    /// Numbers the messages, refuses those a queue has no room for, and lays out what is to be written.
    pub(super) fn batch(&mut self, shared: &Shared, now: UnixMillis) -> Batch {
        let mut tails: Vec<(i64, u64)> = shared.queues.iter().map(|q| q.tail()).collect();
        let mut batch = Batch { at: now, messages: vec![Vec::new(); tails.len()], ..Batch::default() };
        for (to, body, confirm) in self.publishes.drain(..) {
            // A publisher that gave up was told that its message may be missing: it is.
            if confirm.is_closed() {
                continue;
            }
            let full = |place: &usize| {
                let rules = &shared.queues[*place].rules;
                rules.overflow == Overflow::Refuse && tails[*place].1 >= rules.messages_max
            };
            if to.iter().any(full) {
                let _ = confirm.send(Err(PublishError::Full));
                continue;
            }
            batch.put(shared, &mut tails, &to, body);
            batch.confirms.push(confirm);
        }
        batch
    }
}

impl Batch {
    fn put(&mut self, shared: &Shared, tails: &mut [(i64, u64)], to: &[usize], body: Vec<u8>) {
        let located = (self.bodies.len() << LENGTH_BITS) | body.len();
        self.bodies.extend_from_slice(&body);
        for place in to {
            let (last, ready) = &mut tails[*place];
            *last += 1;
            *ready += 1;
            self.index.put(shared.queues[*place].row(*last), located);
            let message = Message { seq: *last, at: self.at.0, tries: 0, body: Vec::new() };
            self.messages[*place].push(message);
        }
        let mut rest = to.iter().rev();
        if let Some(last) = rest.next() {
            for place in rest {
                self.fill(*place, body.clone());
            }
            self.fill(*last, body);
        }
    }

    fn fill(&mut self, place: usize, body: Vec<u8>) {
        if let Some(message) = self.messages[place].last_mut() {
            message.body = body;
        }
    }
}

/// Sorts ranges and joins those that touch.
pub(super) fn joined(mut ranges: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        assert_eq!(joined(vec![(5, 6), (1, 2), (3, 3), (9, 9)]), [(1, 3), (5, 6), (9, 9)]);
    }
}
