//! What becomes of publishes under way: which confirm and which return belong to which.
//!
//! The client hands a returned message to whichever confirm it completes next, which need not be that
//! message's own. On the wire a return comes before the confirm of its message, so that it has been
//! handed out, to some confirm, once its own is complete. Hence: confirms wait until everything
//! completed together with them has been seen ([`Fates::ripe`]), and returns are matched by message id.

use std::collections::{BTreeMap, HashMap};

use lapin::Confirmation;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::target::{Target, short};
use crate::PublishError;

/// Where the publisher hears of it.
pub(super) type Reply = oneshot::Sender<Result<(), PublishError>>;

/// A publish under way.
pub(super) struct Pending {
    pub(super) id: String,
    pub(super) target: Target,
    pub(super) since: Instant,
    reply: Option<Reply>,
}

impl Pending {
    pub(super) fn new(id: String, target: Target, reply: Reply) -> Self {
        Self { id, target, since: Instant::now(), reply: Some(reply) }
    }

    /// Tells the publisher, unless it has been told or does not listen any more.
    pub(super) fn tell(&mut self, fate: Result<(), PublishError>) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(fate);
        }
    }
}

/// What a confirm said of its own message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Confirm {
    /// Safe, unless it was returned.
    Ack,
    /// Refused.
    Nack,
    /// There will be no confirm.
    Lost(String),
}

/// What became of a message.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Safe,
    Returned,
    Refused,
    Lost(String),
}

/// Publishes under way on one channel.
#[derive(Default)]
pub(super) struct Fates {
    pending: BTreeMap<u64, Pending>,
    last: u64,
    settled: Vec<(u64, Confirm)>,
    returned: HashMap<String, usize>,
}

impl Fates {
    /// A publish begins; its number.
    pub(super) fn begin(&mut self, pending: Pending) -> u64 {
        self.last += 1;
        self.pending.insert(self.last, pending);
        self.last
    }

    /// A confirm has come, for the publish of that number.
    pub(super) fn confirmed(&mut self, number: u64, confirmation: Result<Confirmation, lapin::Error>) {
        let (confirm, returned) = match confirmation {
            Ok(Confirmation::Ack(returned)) => (Confirm::Ack, returned),
            Ok(Confirmation::Nack(returned)) => (Confirm::Nack, returned),
            Ok(Confirmation::NotRequested) => (Confirm::Lost("confirms are off".into()), None),
            Err(error) => (Confirm::Lost(error.to_string()), None),
        };
        let id = |id: &lapin::types::ShortString| id.as_str().to_owned();
        let returned = returned.and_then(|message| message.properties.message_id().as_ref().map(id));
        self.record(number, confirm, returned);
    }

    fn record(&mut self, number: u64, confirm: Confirm, returned: Option<String>) {
        if let Some(id) = returned {
            *self.returned.entry(id).or_default() += 1;
        }
        self.settled.push((number, confirm));
    }

    /// Takes the publishes whose confirms have come, once `barrier` has seen to it that everything
    /// completed together with them is recorded too.
    pub(super) fn ripe(&mut self, barrier: impl FnOnce(&mut Self)) -> Vec<(Pending, Fate)> {
        let ripe = std::mem::take(&mut self.settled);
        barrier(self);
        ripe.into_iter().filter_map(|(number, confirm)| self.fate(number, confirm)).collect()
    }

    fn fate(&mut self, number: u64, confirm: Confirm) -> Option<(Pending, Fate)> {
        let pending = self.pending.remove(&number)?;
        let fate = match confirm {
            Confirm::Lost(why) => Fate::Lost(why),
            _ if self.take_return(short(&pending.id)) => Fate::Returned,
            Confirm::Ack => Fate::Safe,
            Confirm::Nack => Fate::Refused,
        };
        Some((pending, fate))
    }

    fn take_return(&mut self, id: &str) -> bool {
        let Some(count) = self.returned.get_mut(id) else { return false };
        *count -= 1;
        if *count == 0 {
            self.returned.remove(id);
        }
        true
    }

    /// Whether confirms have come that are not ripe yet.
    pub(super) fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Since when the oldest has been waiting.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.pending.first_key_value().map(|(_, pending)| pending.since)
    }

    /// Tells all publishers that nobody knows; their confirms are still awaited.
    pub(super) fn tell_all_unconfirmed(&mut self, why: &str) {
        for pending in self.pending.values_mut() {
            pending.tell(Err(PublishError::Unconfirmed(why.to_owned())));
        }
    }

    /// Begins the waiting of all anew.
    pub(super) fn wait_anew(&mut self) {
        let now = Instant::now();
        self.pending.values_mut().for_each(|pending| pending.since = now);
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(ids: &[&str]) -> Fates {
        let mut fates = Fates::default();
        for id in ids {
            fates.begin(Pending::new((*id).into(), Target::Lane(0), oneshot::channel().0));
        }
        fates
    }

    fn told(ripe: Vec<(Pending, Fate)>) -> Vec<(String, Fate)> {
        ripe.into_iter().map(|(pending, fate)| (pending.id, fate)).collect()
    }

    #[test]
    fn a_return_on_another_ones_confirm_finds_its_message() {
        let mut fates = fates(&["a", "b"]);
        fates.record(1, Confirm::Ack, Some("b".into()));
        assert_eq!(told(fates.ripe(|_| {})), [("a".into(), Fate::Safe)]);
        fates.record(2, Confirm::Ack, None);
        assert_eq!(told(fates.ripe(|_| {})), [("b".into(), Fate::Returned)]);
        assert!(fates.is_empty() && fates.returned.is_empty());
    }

    #[test]
    fn a_return_that_completes_together_with_it_is_seen_in_time() {
        let mut fates = fates(&["a", "b"]);
        fates.record(1, Confirm::Ack, None);
        let ripe = fates.ripe(|fates| fates.record(2, Confirm::Ack, Some("a".into())));
        assert_eq!(told(ripe), [("a".into(), Fate::Returned)]);
        assert_eq!(told(fates.ripe(|_| {})), [("b".into(), Fate::Safe)]);
    }

    #[test]
    fn of_two_with_one_id_one_return_is_for_one() {
        let mut fates = fates(&["a", "a"]);
        fates.record(1, Confirm::Ack, Some("a".into()));
        fates.record(2, Confirm::Ack, None);
        assert_eq!(told(fates.ripe(|_| {})), [("a".into(), Fate::Returned), ("a".into(), Fate::Safe)]);
    }
}
