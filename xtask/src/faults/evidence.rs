//! What a fault left to be seen.

use std::time::Duration;

use serde_json::Value;

use super::scene::Scene;
use crate::stack::{Role, Stack};
use crate::subject::Subject;

/// Requests that must be under way when a fault strikes.
pub(super) const IN_FLIGHT_MIN: usize = 100;

/// What must be seen of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Buyers' connections broke with a request under way.
    Broken,
    /// Buyers came again with tickets whose reservation was there already.
    Continued,
    /// Buyers were told 503.
    Busy,
    /// A gateway had no confirm in time, or was told that the message found no way or no room.
    TroubledPublish,
    /// The broker delivered a message again, or the ledger met an id again.
    Redelivered,
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
}

/// Counters of the platform at one moment.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Counters {
    continued: f64,
    troubled: f64,
    duplicates: f64,
    redelivered: f64,
    fences: f64,
    epoch: f64,
    outages: f64,
    dead: f64,
    rejected: f64,
}

impl Counters {
    /// Reads them. What does not answer counts as 0.
    pub(super) fn read(stack: &Stack, sale: &str) -> Self {
        let ledger = stack.admin_get(&format!("/admin/v1/sales/{sale}/ledger")).unwrap_or_default();
        let queues = stack.engines.rabbitmq.api("GET", "/api/queues", "").unwrap_or_default();
        let sum = |field: fn(&Value) -> f64, of: &str| -> f64 {
            let queues = queues.as_array().map(Vec::as_slice).unwrap_or_default();
            let named = queues.iter().filter(|q| q["name"].as_str().is_some_and(|name| name.contains(of)));
            named.map(field).sum()
        };
        Self {
            continued: stack.metric(Role::Gateway, "gateway_orders_continued_total"),
            troubled: stack.metric(Role::Gateway, "gateway_publish_troubled_total"),
            duplicates: stack.metric(Role::Order, "seckill_lane_messages_total{outcome=\"duplicate\"}"),
            redelivered: sum(|q| q["message_stats"]["redeliver"].as_f64().unwrap_or(0.0), ""),
            fences: stack.metric(Role::Inventory, "seckill_fences_sent_total"),
            epoch: ledger["epoch"].as_f64().unwrap_or(0.0),
            outages: stack.metric(Role::Order, "seckill_order_store_outages_total"),
            dead: sum(|q| q["messages"].as_f64().unwrap_or(0.0), ".dead."),
            rejected: stack.metric(Role::Order, "seckill_lane_messages_total{outcome=\"rejected\"}"),
        }
    }
}

/// What effects are called, in the order of [`Evidence::effects`].
const NAMES: [&str; 10] = [
    "connections broken",
    "reservations continued",
    "503",
    "troubled publishes",
    "redelivered or known",
    "fenced",
    "epochs",
    "ledger away",
    "dead letters",
    "rejected on arrival",
];

/// What was seen of one run.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Evidence {
    pub(super) in_flight: usize,
    pub(super) accepted: usize,
    pub(super) pause: Duration,
    broken: f64,
    continued: f64,
    busy: f64,
    troubled: f64,
    redelivered: f64,
    fences: f64,
    epochs: f64,
    outages: f64,
    dead: f64,
    rejected: f64,
}

impl Evidence {
    /// From the counters before, those now, and what the storm told.
    pub(super) fn of(scene: &Scene<'_>, before: &Counters, told: &Value, pause: Duration) -> Self {
        let now = Counters::read(scene.stack, &scene.sale);
        let answers = |kind: &str| told["answers"][kind].as_f64().unwrap_or(0.0);
        Self {
            in_flight: scene.in_flight,
            accepted: scene.accepted(),
            pause,
            broken: answers("broken"),
            busy: answers("busy"),
            continued: grown(before.continued, now.continued),
            troubled: grown(before.troubled, now.troubled),
            redelivered: grown(before.redelivered, now.redelivered)
                + grown(before.duplicates, now.duplicates),
            fences: grown(before.fences, now.fences),
            epochs: (now.epoch - before.epoch).max(0.0),
            outages: grown(before.outages, now.outages),
            dead: grown(before.dead, now.dead),
            rejected: grown(before.rejected, now.rejected),
        }
    }

    /// How much of this effect was seen.
    fn amount(&self, effect: Effect) -> f64 {
        match effect {
            Effect::Broken => self.broken,
            Effect::Continued => self.continued,
            Effect::Busy => self.busy,
            Effect::TroubledPublish => self.troubled,
            Effect::Redelivered => self.redelivered,
            Effect::Fenced => self.fences,
            Effect::ClosedSale => self.epochs,
            Effect::LedgerAway => self.outages,
            Effect::DeadLetter => self.dead,
            Effect::Rejected => self.rejected,
        }
    }

    /// What of this was not seen.
    pub(super) fn missing(&self, effects: &[Effect]) -> Vec<String> {
        let mut missing: Vec<String> = effects
            .iter()
            .filter(|effect| self.amount(**effect) < 1.0)
            .map(|effect| format!("{effect:?}"))
            .collect();
        if self.in_flight < IN_FLIGHT_MIN {
            missing.push(format!("{IN_FLIGHT_MIN} requests under way (there were {})", self.in_flight));
        }
        missing
    }

    /// The names of what [`Self::record`] writes, in its order.
    pub(super) const RECORD_HEAD: &str = "under way,accepted,longest pause ms,broken,continued,503,troubled publishes,\
                                          redelivered,fenced,epochs,ledger away,dead letters,rejected";

    /// All of it, separated by commas.
    pub(super) fn record(&self) -> String {
        let (under_way, accepted, pause) = (self.in_flight, self.accepted, self.pause.as_millis());
        let effects = self.effects().map(|effect| effect.to_string()).join(",");
        format!("{under_way},{accepted},{pause},{effects}")
    }

    /// What [`Self::record`] wrote; nothing if it is something else.
    pub(super) fn of_record(text: &str) -> Option<Self> {
        let mut fields = text.split(',');
        let in_flight = fields.next()?.parse().ok()?;
        let accepted = fields.next()?.parse().ok()?;
        let pause = Duration::from_millis(fields.next()?.parse().ok()?);
        let mut effect = || fields.next()?.parse::<f64>().ok();
        Some(Self {
            in_flight,
            accepted,
            pause,
            broken: effect()?,
            continued: effect()?,
            busy: effect()?,
            troubled: effect()?,
            redelivered: effect()?,
            fences: effect()?,
            epochs: effect()?,
            outages: effect()?,
            dead: effect()?,
            // Older records end before it.
            rejected: effect().unwrap_or(0.0),
        })
    }

    /// In the order of the record.
    fn effects(&self) -> [f64; 10] {
        [
            self.broken,
            self.continued,
            self.busy,
            self.troubled,
            self.redelivered,
            self.fences,
            self.epochs,
            self.outages,
            self.dead,
            self.rejected,
        ]
    }

    /// What was seen in these runs together, of effects that were seen at all.
    pub(super) fn all_seen(runs: &[Self]) -> String {
        let seen = NAMES.iter().enumerate().filter_map(|(n, name)| {
            let sum: f64 = runs.iter().map(|run| run.effects()[n]).sum();
            (sum > 0.0).then(|| format!("{name} {sum}"))
        });
        seen.collect::<Vec<_>>().join(", ")
    }

    /// All of it, in a line.
    pub(super) fn text(&self) -> String {
        let effects = NAMES.iter().zip(self.effects()).map(|(name, amount)| format!("{name} {amount}"));
        format!(
            "{} under way; {}; {} accepted, longest pause {} ms",
            self.in_flight,
            effects.collect::<Vec<_>>().join(", "),
            self.accepted,
            self.pause.as_millis()
        )
    }
}

/// Growth of a counter. One that is lower now began anew with its process.
fn grown(before: f64, now: f64) -> f64 {
    if now >= before { now - before } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_its_effect_does_not_count() {
        let seen = Evidence { in_flight: 256, troubled: 3.0, ..Evidence::default() };
        assert!(seen.missing(&[Effect::TroubledPublish]).is_empty());
        assert_eq!(seen.missing(&[Effect::TroubledPublish, Effect::Fenced]), ["Fenced"]);
        let quiet = Evidence { in_flight: 99, ..seen };
        assert_eq!(quiet.missing(&[]).len(), 1);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let seen = Evidence { in_flight: 256, accepted: 7, troubled: 3.0, dead: 9.0, ..Evidence::default() };
        let again = Evidence::of_record(&seen.record()).unwrap();
        assert_eq!(again.text(), seen.text());
        assert_eq!(seen.record().split(',').count(), Evidence::RECORD_HEAD.split(',').count());
        assert!(Evidence::of_record("256,7").is_none());
    }

    #[test]
    fn a_counter_of_a_restarted_process_grew_by_what_it_shows() {
        assert!((grown(5.0, 7.0) - 2.0).abs() < f64::EPSILON);
        assert!((grown(5.0, 3.0) - 3.0).abs() < f64::EPSILON);
    }
}
