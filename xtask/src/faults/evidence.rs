//! What a fault left to be seen.

mod counters;

use std::time::Duration;

use serde_json::Value;

use super::scene::{Mended, Scene};
use counters::Count;
pub(super) use counters::Counters;

/// Buyers that must be connected when a fault strikes. The storm has no idle ones: on each connection a buyer sends a
/// request, or waits for its answer or for the next try.
const CONNECTIONS_MIN: usize = 100;
/// Amounts that the oldest records have.
const AMOUNTS_MIN: usize = 9;

/// What can be seen of a fault, in the order of the record. New ones go to its end: older records end before them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Buyers' connections broke with a request under way.
    Broken,
    /// Buyers came again with tickets whose reservation was there already.
    Continued,
    /// Buyers were told 503, from the storm's begin: load alone can do that.
    ToldBusy,
    /// A gateway's publish went wrong in either of the two ways below.
    TroubledPublish,
    /// A message came again in either of the two ways below.
    CameAgain,
    /// A reservation whose order did not come was fenced.
    Fenced,
    /// The sale was closed and came back under a higher epoch.
    ClosedSale,
    /// The order service met a ledger that was away.
    LedgerAway,
    /// A message went to the dead letters.
    DeadLetter,
    /// The ledger refused an order that came to it.
    Rejected,
    /// A gateway was told that its message found no way or no room.
    RefusedPublish,
    /// A gateway had no confirm in time: its message is in the queue or not.
    UnknownPublish,
    /// The broker delivered a message again.
    Redelivered,
    /// The ledger met an order that it had.
    KnownId,
    /// Gateways refused purchases with a 503, since the strike.
    Busy,
    /// Buyers who came back for one more than they may have were refused.
    AtLimit,
    /// Something was sold after the fault had been mended.
    SoldAfter,
    /// Messages stood in the lanes, not sent to any consumer, when the broker was killed.
    InLine,
    /// An event was told that had been told before.
    ToldAgain,
    /// An event was told while its way to inventory was slow.
    ToldLate,
    /// A payment's capture was reported once more.
    ReportedAgain,
    /// Bytes of webhooks and of their answers were lost, some of each.
    WebhooksLost,
    /// An order that the ledger can never commit came to the dead letters.
    Uncommittable,
    /// Stock store and ledger were found to disagree for good, and the stock was rebuilt.
    Disagreed,
}

impl Effect {
    const ALL: [Self; 24] = [
        Self::Broken,
        Self::Continued,
        Self::ToldBusy,
        Self::TroubledPublish,
        Self::CameAgain,
        Self::Fenced,
        Self::ClosedSale,
        Self::LedgerAway,
        Self::DeadLetter,
        Self::Rejected,
        Self::RefusedPublish,
        Self::UnknownPublish,
        Self::Redelivered,
        Self::KnownId,
        Self::Busy,
        Self::AtLimit,
        Self::SoldAfter,
        Self::InLine,
        Self::ToldAgain,
        Self::ToldLate,
        Self::ReportedAgain,
        Self::WebhooksLost,
        Self::Uncommittable,
        Self::Disagreed,
    ];

    /// What it is called at the record's head, and in a text.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Broken => ("broken", "connections broken"),
            Self::Continued => ("continued", "reservations continued"),
            Self::ToldBusy => ("503", "503"),
            Self::TroubledPublish => ("troubled publishes", "troubled publishes"),
            Self::CameAgain => ("redelivered", "redelivered or known"),
            Self::Fenced => ("fenced", "fenced"),
            Self::ClosedSale => ("epochs", "epochs"),
            Self::LedgerAway => ("ledger away", "ledger away"),
            Self::DeadLetter => ("dead letters", "dead letters"),
            Self::Rejected => ("rejected", "rejected on arrival"),
            Self::RefusedPublish => ("publishes refused", "publishes refused"),
            Self::UnknownPublish => ("publishes unknown", "publishes of unknown fate"),
            Self::Redelivered => ("delivered again", "delivered again"),
            Self::KnownId => ("known ids", "known ids"),
            Self::Busy => ("503 since", "503 since the fault"),
            Self::AtLimit => ("at the limit", "refused at the limit"),
            Self::SoldAfter => ("accepted after", "accepted after it"),
            Self::InLine => ("in line", "in line at the kill"),
            Self::ToldAgain => ("told again", "events told again"),
            Self::ToldLate => ("told late", "events told late"),
            Self::ReportedAgain => ("reported again", "captures reported again"),
            Self::WebhooksLost => ("webhook bytes lost", "bytes of webhooks and answers lost"),
            Self::Uncommittable => ("uncommittable", "uncommittable orders"),
            Self::Disagreed => ("disagreed", "disagreements rebuilt"),
        }
    }
}

/// What a run left behind, besides what the platform counts by now.
pub(super) struct Played {
    /// The platform's counters before the fault.
    pub(super) before: Counters,
    /// Connections that had broken before it.
    pub(super) broken_before: f64,
    /// The moment when it had been mended.
    pub(super) mended: Mended,
    /// The longest time without a 202.
    pub(super) pause: Duration,
    /// The storm's own result.
    pub(super) told: Value,
}

/// What was seen of one run.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Evidence {
    /// Connections of buyers when the fault struck.
    pub(super) connections: usize,
    pub(super) accepted: usize,
    pub(super) pause: Duration,
    pub(super) amounts: [f64; Effect::ALL.len()],
}

impl Evidence {
    /// From what the run left behind, and the counters as they are now.
    pub(super) fn of(scene: &Scene<'_>, played: &Played, now: &Counters) -> Self {
        let answers = |kind: &str| played.told["answers"][kind].as_f64().unwrap_or(0.0);
        let grown = |count| played.before.grown(now, count);
        let (refused, unknown) = (grown(Count::RefusedPublishes), grown(Count::UnknownPublishes));
        let (redelivered, known) = (played.before.redelivered(now), grown(Count::KnownIds));
        let accepted = scene.accepted();
        let amounts = Effect::ALL.map(|effect| match effect {
            Effect::Broken => (answers("broken") - played.broken_before).max(0.0),
            Effect::Continued => grown(Count::Continued),
            Effect::ToldBusy => answers("busy"),
            Effect::TroubledPublish => refused + unknown,
            Effect::CameAgain => redelivered + known,
            Effect::Fenced => grown(Count::Fences),
            Effect::ClosedSale => played.before.epochs(now),
            Effect::LedgerAway => grown(Count::Outages),
            Effect::DeadLetter => played.before.dead(now),
            Effect::Rejected => grown(Count::Rejected),
            Effect::RefusedPublish => refused,
            Effect::UnknownPublish => unknown,
            Effect::Redelivered => redelivered,
            Effect::KnownId => known,
            Effect::Busy => grown(Count::Busy),
            Effect::AtLimit => answers("limit"),
            Effect::SoldAfter => accepted.saturating_sub(played.mended.accepted) as f64,
            Effect::Disagreed => grown(Count::Disagreements),
            Effect::InLine
            | Effect::ToldAgain
            | Effect::ToldLate
            | Effect::ReportedAgain
            | Effect::WebhooksLost
            | Effect::Uncommittable => scene.noted(effect),
        });
        Self { connections: scene.connections, accepted, pause: played.pause, amounts }
    }

    /// How much of this effect was seen.
    fn amount(&self, effect: Effect) -> f64 {
        self.amounts[effect as usize]
    }

    /// Lines by which the journal grew after the fault had been mended.
    pub(super) fn sold_after(&self) -> f64 {
        self.amount(Effect::SoldAfter)
    }

    /// What of this was not seen. Whatever the fault, buyers must have been refused at their limit: otherwise that
    /// promise was not tried.
    pub(super) fn missing(&self, effects: &[Effect]) -> Vec<String> {
        let wanted = effects.iter().chain(&[Effect::AtLimit]);
        let unseen = wanted.filter(|effect| self.amount(**effect) < 1.0);
        let mut missing: Vec<String> = unseen.map(|effect| format!("{effect:?}")).collect();
        if self.connections < CONNECTIONS_MIN {
            let there = self.connections;
            missing.push(format!("{CONNECTIONS_MIN} connections of buyers (there were {there})"));
        }
        missing
    }

    /// The names of what [`Self::record`] writes, in its order.
    pub(super) fn record_head() -> String {
        let names = Effect::ALL.map(|effect| effect.names().0).join(",");
        format!("connections,accepted,longest pause ms,{names}")
    }

    /// All of it, separated by commas.
    pub(super) fn record(&self) -> String {
        let (connections, accepted, pause) = (self.connections, self.accepted, self.pause.as_millis());
        let amounts = self.amounts.map(|amount| amount.to_string()).join(",");
        format!("{connections},{accepted},{pause},{amounts}")
    }

    /// What [`Self::record`] wrote; nothing if it is something else.
    pub(super) fn of_record(text: &str) -> Option<Self> {
        let mut fields = text.split(',');
        let connections = fields.next()?.parse().ok()?;
        let accepted = fields.next()?.parse().ok()?;
        let pause = Duration::from_millis(fields.next()?.parse().ok()?);
        let mut amounts = [0.0; Effect::ALL.len()];
        for (n, amount) in amounts.iter_mut().enumerate() {
            match fields.next() {
                Some(field) => *amount = field.parse().ok()?,
                None if n >= AMOUNTS_MIN => break,
                None => return None,
            }
        }
        fields.next().is_none().then_some(Self { connections, accepted, pause, amounts })
    }

    /// What was seen in these runs together, of effects that were seen at all.
    pub(super) fn all_seen<'a>(runs: impl Iterator<Item = &'a Self> + Clone) -> String {
        let seen = Effect::ALL.iter().filter_map(|effect| {
            let sum: f64 = runs.clone().map(|run| run.amount(*effect)).sum();
            (sum > 0.0).then(|| format!("{} {sum}", effect.names().1))
        });
        seen.collect::<Vec<_>>().join(", ")
    }

    /// All of it, in a line.
    pub(super) fn text(&self) -> String {
        let amounts = Effect::ALL.map(|effect| format!("{} {}", effect.names().1, self.amount(effect)));
        format!(
            "{} connections of buyers; {}; {} accepted, longest pause {} ms",
            self.connections,
            amounts.join(", "),
            self.accepted,
            self.pause.as_millis()
        )
    }
}

#[cfg(test)]
impl Evidence {
    /// With so much of an effect.
    pub(super) fn with(mut self, effect: Effect, amount: f64) -> Self {
        self.amounts[effect as usize] = amount;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_its_effect_does_not_count() {
        let seen = Evidence { connections: 256, ..Evidence::default() };
        let seen = seen.with(Effect::UnknownPublish, 3.0).with(Effect::AtLimit, 7.0);
        assert!(seen.missing(&[Effect::UnknownPublish]).is_empty());
        assert_eq!(seen.missing(&[Effect::UnknownPublish, Effect::Fenced]), ["Fenced"]);
        let quiet = Evidence { connections: 99, ..seen };
        assert_eq!(quiet.missing(&[]).len(), 1);
        assert_eq!(seen.with(Effect::AtLimit, 0.0).missing(&[]), ["AtLimit"], "the limit was not tried");
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let seen = Evidence { connections: 256, accepted: 7, ..Evidence::default() };
        let seen = seen.with(Effect::TroubledPublish, 3.0).with(Effect::SoldAfter, 9.0);
        let again = Evidence::of_record(&seen.record()).unwrap();
        assert_eq!(again.text(), seen.text());
        assert_eq!(seen.record().split(',').count(), Evidence::record_head().split(',').count());
        assert!(Evidence::of_record("256,7").is_none());
        let old = Evidence::of_record("256,7,100,1,2,3,4,5,6,7,8,9").unwrap();
        assert_eq!((old.amount(Effect::DeadLetter), old.amount(Effect::Rejected)), (9.0, 0.0));
        assert!(Evidence::of_record("256,7,100,1,2,3,4,5,6,7,8").is_none());
        assert!(Evidence::of_record(&(seen.record() + ",1")).is_none(), "one field too many");
    }

    #[test]
    fn every_effect_has_its_place() {
        for (n, effect) in Effect::ALL.iter().enumerate() {
            assert_eq!(*effect as usize, n);
        }
    }
}
