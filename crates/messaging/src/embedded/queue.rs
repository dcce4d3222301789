//! One queue: what is known of its messages in memory. The messages themselves are in the database;
//! here are the next few of them, the marks between delivered and not, and who consumes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use domain::UnixMillis;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use crate::topology::{Cause, Overflow};

/// Bits of a message's row id that number it within its queue; the rest number the queue. Three statements in `store.rs`
/// repeat them, as `>> 48` or `<< 48`.
const SEQ_BITS: u32 = 48;
/// Messages of one queue kept in memory ahead of its consumers.
const AHEAD_MESSAGES_MAX: usize = 4_096;
/// The same in bytes of their bodies.
pub(super) const AHEAD_BYTES_MAX: usize = 1 << 20;

/// A queue's limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Messages ready at most.
    pub(super) messages_max: u64,
    /// What happens beyond.
    pub(super) overflow: Overflow,
    /// How long a message may wait.
    pub(super) ttl_ms: i64,
    /// Deliveries without acknowledgement that a message survives.
    pub(super) delivery_limit: u32,
    /// Consumers that may be active at once.
    pub(super) active_max: usize,
}

impl Rules {
    /// Why a message may not be delivered any more.
    fn verdict(&self, at: i64, tries: u32, now: UnixMillis) -> Option<Cause> {
        if now.since(UnixMillis(at)) >= self.ttl_ms {
            Some(Cause::Expired)
        } else if tries > self.delivery_limit {
            Some(Cause::DeliveryLimit)
        } else {
            None
        }
    }
}

/// A message in memory.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Its number in the queue; rises in the order of commits.
    pub(super) seq: i64,
    /// When it came, Unix milliseconds.
    pub(super) at: i64,
    /// Deliveries that ended without acknowledgement.
    pub(super) tries: u32,
    /// Its JSON.
    pub(super) body: Vec<u8>,
}

/// A delivered message, as its consumer remembers it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) tag: u64,
    pub(super) seq: i64,
    pub(super) at: i64,
    pub(super) tries: u32,
}

/// What a consumer finds when it looks.
pub(super) enum Look {
    /// The broker is closing.
    Closed,
    /// These are the consumer's now.
    Taken(Vec<Message>),
    /// The head may not be delivered any more: it goes to the dead letters first.
    Condemned,
    /// These came back and are next; their bodies are in the database.
    Reread(Vec<i64>),
    /// The next ones are in the database: after the first number, up to the second.
    Load(i64, i64),
    /// Nothing is ready.
    Nothing,
}

#[derive(Default)]
struct State {
    /// The next messages in order, up to `loaded`.
    ahead: VecDeque<Message>,
    ahead_bytes: usize,
    /// The last number that is, or was, in `ahead`.
    loaded: i64,
    /// The last number committed.
    last: i64,
    /// Delivered and given back: (arrival, tries) by number. All of them come before `ahead`.
    returned: BTreeMap<i64, (i64, u32)>,
    /// The highest number ever delivered, and what of it the database knows.
    delivered: i64,
    delivered_saved: i64,
    ready: u64,
    in_flight: u64,
    consumers: u32,
    closed: bool,
}

/// One queue.
pub(super) struct Queue {
    pub(super) number: i64,
    pub(super) name: String,
    pub(super) rules: Rules,
    state: Mutex<State>,
    /// Held while messages are being chosen: by a consumer, or by the writer that buries.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Told when messages become ready. Each consumer that leaves some passes it on.
    pub(super) changed: Notify,
    /// Places for active consumers.
    pub(super) active: Arc<Semaphore>,
}

impl Queue {
    /// A queue whose `ready` messages in the database are numbered after `first` and up to `last`.
    pub(super) fn new(number: i64, name: String, rules: Rules, first: i64, last: i64, ready: u64) -> Self {
        Self {
            number,
            name,
            rules,
            state: Mutex::new(State { loaded: first, last, ready, ..State::default() }),
            turn: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
            active: Arc::new(Semaphore::new(rules.active_max)),
        }
    }

    /// The row id of a number in this queue.
    pub(super) fn row(&self, seq: i64) -> i64 {
        row_base(self.number) + seq
    }

    /// The last number committed, and how many messages are ready.
    pub(super) fn tail(&self) -> (i64, u64) {
        let state = self.state.lock();
        (state.last, state.ready)
    }

    /// (ready, in flight, consumers).
    pub(super) fn counts(&self) -> (u64, u64, u32) {
        let state = self.state.lock();
        (state.ready, state.in_flight, state.consumers)
    }

    /// Counts a consumer in or out.
    pub(super) fn attach(&self, there: bool) {
        let mut state = self.state.lock();
        state.consumers = if there { state.consumers + 1 } else { state.consumers.saturating_sub(1) };
    }

    /// The broker closes: nothing is delivered any more.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.active.close();
        self.changed.notify_one();
    }

    /// Messages were committed, in this order.
    pub(super) fn committed(&self, messages: Vec<Message>) {
        let mut state = self.state.lock();
        for message in messages {
            // Only when memory holds all up to the tail: what it holds must have no gap.
            let follows = state.loaded == state.last;
            state.last = message.seq;
            state.ready += 1;
            if follows && state.has_room() {
                state.push(message);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The storage was opened anew and holds messages up to `last`, `more` of them unknown here.
    pub(super) fn resync(&self, last: i64, more: u64) {
        let mut state = self.state.lock();
        state.last = state.last.max(last);
        state.ready += more;
        drop(state);
        self.changed.notify_one();
    }

    /// Takes the next messages, `max` at most, or says what has to happen first. The caller holds
    /// `turn`.
    pub(super) fn look(&self, max: usize, now: UnixMillis) -> Look {
        let mut state = self.state.lock();
        if state.closed {
            return Look::Closed;
        }
        if !state.returned.is_empty() {
            let fit = |(_, (at, tries)): &(&i64, &(i64, u32))| self.rules.verdict(*at, *tries, now).is_none();
            let next: Vec<i64> =
                state.returned.iter().take_while(fit).take(max).map(|(seq, _)| *seq).collect();
            return if next.is_empty() { Look::Condemned } else { Look::Reread(next) };
        }
        if state.ahead.is_empty() {
            let more = state.loaded < state.last;
            return if more { Look::Load(state.loaded, state.last) } else { Look::Nothing };
        }
        let mut taken = Vec::with_capacity(max.min(state.ahead.len()));
        while taken.len() < max {
            let Some(head) = state.ahead.front() else { break };
            if self.rules.verdict(head.at, head.tries, now).is_some() {
                break;
            }
            taken.extend(state.pop());
        }
        if taken.is_empty() {
            return Look::Condemned;
        }
        state.deliver(&taken);
        self.pass_on(&state);
        Look::Taken(taken)
    }

    /// Messages were read from the database: all there are after `loaded` and up to `through`.
    pub(super) fn loaded(&self, messages: Vec<Message>, through: i64) {
        let mut state = self.state.lock();
        for message in messages {
            state.push(message);
        }
        state.loaded = through;
    }

    /// Takes what came back and was read again. What is no longer in the database is forgotten.
    pub(super) fn take_returned(&self, asked: &[i64], mut found: Vec<Message>) -> Vec<Message> {
        let mut state = self.state.lock();
        let mut gone = asked.len() as u64;
        for message in &mut found {
            if let Some((_, tries)) = state.returned.get(&message.seq) {
                message.tries = *tries;
                gone -= 1;
            }
        }
        for seq in asked {
            state.returned.remove(seq);
        }
        state.ready = state.ready.saturating_sub(gone);
        state.deliver(&found);
        self.pass_on(&state);
        found
    }

    /// A consumer is done with this many.
    pub(super) fn acknowledged(&self, count: u64) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(count);
    }

    /// Delivered messages come back, to their old places.
    pub(super) fn give_back(&self, held: impl IntoIterator<Item = Held>) {
        let mut state = self.state.lock();
        for one in held {
            state.returned.insert(one.seq, (one.at, one.tries.saturating_add(1)));
            state.ready += 1;
            state.in_flight = state.in_flight.saturating_sub(1);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The ready messages in memory that may not be delivered any more, `max` at most. The caller holds
    /// `turn`.
    pub(super) fn condemned(&self, now: UnixMillis, max: usize) -> Vec<(i64, Cause)> {
        let state = self.state.lock();
        let excess = match self.rules.overflow {
            Overflow::DropHead => state.ready.saturating_sub(self.rules.messages_max),
            Overflow::Refuse => 0,
        };
        let mut found = Vec::new();
        for (seq, (at, tries)) in &state.returned {
            let over = (found.len() as u64) < excess;
            let cause = self.rules.verdict(*at, *tries, now).or(over.then_some(Cause::MaxLen));
            found.extend(cause.map(|cause| (*seq, cause)));
        }
        for message in &state.ahead {
            let over = (found.len() as u64) < excess;
            let cause = self.rules.verdict(message.at, message.tries, now).or(over.then_some(Cause::MaxLen));
            let Some(cause) = cause else { break };
            found.push((message.seq, cause));
        }
        found.truncate(max);
        found
    }

    /// What must be read from the database to know the head: as [`Look::Load`].
    pub(super) fn unloaded(&self) -> Option<(i64, i64)> {
        let state = self.state.lock();
        (state.ahead.is_empty() && state.loaded < state.last).then_some((state.loaded, state.last))
    }

    /// Ready messages went to the dead letters. The caller holds `turn`.
    pub(super) fn dead_lettered(&self, seqs: &[(i64, Cause)]) {
        let mut state = self.state.lock();
        for (seq, _) in seqs {
            let known = state.returned.remove(seq).is_some()
                || state.ahead.front().is_some_and(|m| m.seq == *seq) && state.pop().is_some();
            state.ready = state.ready.saturating_sub(u64::from(known));
        }
    }

    /// Whether messages beyond the limit wait for their burial.
    pub(super) fn overflows(&self) -> bool {
        self.rules.overflow == Overflow::DropHead && self.tail().1 > self.rules.messages_max
    }

    /// The mark of the highest number delivered, if the database should learn it: it changed, and some
    /// of what lies below it is not acknowledged.
    pub(super) fn unsaved_mark(&self) -> Option<i64> {
        let state = self.state.lock();
        (state.delivered > state.delivered_saved && state.in_flight > 0).then_some(state.delivered)
    }

    /// The database knows the mark.
    pub(super) fn mark_saved(&self, mark: i64) {
        self.state.lock().delivered_saved = mark;
    }

    /// The tries of what came back, by row id, if nothing is in flight: then they tell everything.
    pub(super) fn settled_tries(&self) -> Option<Vec<(i64, u32)>> {
        let state = self.state.lock();
        (state.in_flight == 0)
            .then(|| state.returned.iter().map(|(seq, (_, tries))| (self.row(*seq), *tries)).collect())
    }

    fn pass_on(&self, state: &State) {
        if state.ready > 0 && state.consumers > 1 {
            self.changed.notify_one();
        }
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.ahead.len() < AHEAD_MESSAGES_MAX && self.ahead_bytes < AHEAD_BYTES_MAX
    }

    fn push(&mut self, message: Message) {
        self.loaded = message.seq;
        self.ahead_bytes += message.body.len();
        self.ahead.push_back(message);
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.ahead.pop_front()?;
        self.ahead_bytes = self.ahead_bytes.saturating_sub(message.body.len());
        Some(message)
    }

    fn deliver(&mut self, messages: &[Message]) {
        let count = messages.len() as u64;
        self.ready = self.ready.saturating_sub(count);
        self.in_flight += count;
        self.delivered = messages.iter().map(|m| m.seq).fold(self.delivered, i64::max);
    }
}

/// The row id before the first of a queue.
pub(super) fn row_base(number: i64) -> i64 {
    number << SEQ_BITS
}

/// The queue's number in a row id.
pub(super) fn queue_of_row(row: i64) -> i64 {
    row >> SEQ_BITS
}
