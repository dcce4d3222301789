//! What the platform counts, read before a fault and after it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::faults::scene::Scene;
use crate::run::{Outcome, pause};
use crate::stack::{Role, Service};

/// Readings tried in the midst of a storm, where an answer may be a 503, and how far apart.
const READINGS_MAX: u32 = 20;
const READ_AGAIN: Duration = Duration::from_millis(100);

/// Refusals of purchases that come with a 503.
const BUSY: [&str; 4] = [
    "gateway_purchase_refused_total{step=\"ticket\",code=\"overloaded\"}",
    "gateway_purchase_refused_total{step=\"ticket\",code=\"unavailable\"}",
    "gateway_purchase_refused_total{step=\"order\",code=\"overloaded\"}",
    "gateway_purchase_refused_total{step=\"order\",code=\"unavailable\"}",
];

/// What services count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Count {
    Continued,
    RefusedPublishes,
    UnknownPublishes,
    Busy,
    KnownIds,
    Rejected,
    Outages,
    Fences,
    Disagreements,
}

impl Count {
    const ALL: [Self; 9] = [
        Self::Continued,
        Self::RefusedPublishes,
        Self::UnknownPublishes,
        Self::Busy,
        Self::KnownIds,
        Self::Rejected,
        Self::Outages,
        Self::Fences,
        Self::Disagreements,
    ];

    /// Who counts it, and how the lines of its series begin.
    fn series(self) -> (Role, &'static [&'static str]) {
        match self {
            Self::Continued => (Role::Gateway, &["gateway_orders_continued_total"]),
            Self::RefusedPublishes => (Role::Gateway, &["gateway_publish_troubled_total{fate=\"refused\"}"]),
            Self::UnknownPublishes => (Role::Gateway, &["gateway_publish_troubled_total{fate=\"unknown\"}"]),
            Self::Busy => (Role::Gateway, &BUSY),
            Self::KnownIds => (Role::Order, &["seckill_lane_messages_total{outcome=\"duplicate\"}"]),
            Self::Rejected => (Role::Order, &["seckill_lane_messages_total{outcome=\"rejected\"}"]),
            Self::Outages => (Role::Order, &["seckill_order_store_outages_total"]),
            Self::Fences => (Role::Inventory, &["seckill_fences_sent_total"]),
            Self::Disagreements => (Role::Inventory, &["seckill_stores_disagreed_total"]),
        }
    }
}

/// What one process counted.
#[derive(Clone, Debug)]
struct Process {
    /// Another process than before began at 0.
    pid: Option<u32>,
    counted: [f64; Count::ALL.len()],
}

impl Process {
    fn read(service: &Service) -> Outcome<Self> {
        let silent = || format!("{} tells no metrics", service.server.name());
        let metrics = service.metrics().ok_or_else(silent)?;
        let counted = Count::ALL.map(|count| {
            let (role, series) = count.series();
            let its = series.iter().filter(|_| role == service.role);
            its.map(|begin| metrics.sum(begin)).sum::<f64>()
        });
        Ok(Self { pid: service.server.pid(), counted })
    }

    fn grown(&self, now: &Self, count: Count) -> f64 {
        let (before, after) = (self.counted[count as usize], now.counted[count as usize]);
        if self.pid == now.pid { (after - before).max(0.0) } else { after }
    }
}

/// A number of each queue, by its name.
type Queues = BTreeMap<String, f64>;

/// Counters of the platform at one moment. Each process and each queue is kept apart: in a sum, what began anew
/// would take away what the others gained.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    processes: Vec<Process>,
    redelivered: Queues,
    dead: Queues,
    epoch: f64,
}

impl Counters {
    /// Reads them. A part that does not answer is an error: 0 would be a lie, and what comes after it growth.
    pub(crate) fn read(scene: &Scene<'_>) -> Outcome<Self> {
        let ledger = scene.ledger()?;
        let epoch = ledger["epoch"].as_f64().ok_or_else(|| format!("the ledger tells no epoch: {ledger}"))?;
        let queues = scene.stack.engines.rabbitmq.api("GET", "/api/queues", "")?;
        Ok(Self {
            processes: scene.stack.services.iter().map(Process::read).collect::<Outcome<Vec<_>>>()?,
            redelivered: of_queues(&queues, "", "/message_stats/redeliver"),
            dead: of_queues(&queues, ".dead.", "/messages"),
            epoch,
        })
    }

    /// The same in the midst of a storm: a few times, if need be.
    pub(crate) fn read_patiently(scene: &Scene<'_>) -> Outcome<Self> {
        let mut told = Self::read(scene);
        for _ in 1..READINGS_MAX {
            if told.is_ok() {
                break;
            }
            pause(READ_AGAIN);
            told = Self::read(scene);
        }
        told
    }

    /// What all processes have counted since: those that were started anew, since their start.
    pub(super) fn grown(&self, now: &Self, count: Count) -> f64 {
        let pairs = self.processes.iter().zip(&now.processes);
        // The sum of nothing is -0.
        pairs.map(|(before, now)| before.grown(now, count)).sum::<f64>() + 0.0
    }

    /// Messages that the broker has delivered again since. A queue that shows less than before began anew with its
    /// node.
    pub(super) fn redelivered(&self, now: &Self) -> f64 {
        let grown = |before: f64, now: f64| if now >= before { now - before } else { now };
        sum_of(&self.redelivered, &now.redelivered, grown)
    }

    /// Messages that have come to the dead letters since.
    pub(super) fn dead(&self, now: &Self) -> f64 {
        sum_of(&self.dead, &now.dead, |before, now| (now - before).max(0.0))
    }

    /// How often the sale's stock has been rebuilt since.
    pub(super) fn epochs(&self, now: &Self) -> f64 {
        (now.epoch - self.epoch).max(0.0)
    }
}

/// The number at this place (a JSON pointer) of every queue whose name contains this.
fn of_queues(queues: &Value, named: &str, place: &str) -> Queues {
    let all = queues.as_array().into_iter().flatten();
    let number = |queue: &Value| queue.pointer(place).and_then(Value::as_f64).unwrap_or(0.0);
    let its = all.filter_map(|queue| Some((queue["name"].as_str()?.to_owned(), number(queue))));
    its.filter(|(name, _)| name.contains(named)).collect()
}

fn sum_of(before: &Queues, now: &Queues, grown: impl Fn(f64, f64) -> f64) -> f64 {
    let each = now.iter().map(|(name, now)| grown(before.get(name).copied().unwrap_or(0.0), *now));
    each.sum::<f64>() + 0.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Gateways that continued so many orders, by process.
    fn counters(continued: &[(u32, f64)], queues: &Value) -> Counters {
        let process = |(pid, continued): &(u32, f64)| {
            let mut counted = [0.0; Count::ALL.len()];
            counted[Count::Continued as usize] = *continued;
            Process { pid: Some(*pid), counted }
        };
        Counters {
            processes: continued.iter().map(process).collect(),
            redelivered: of_queues(queues, "", "/message_stats/redeliver"),
            dead: of_queues(queues, ".dead.", "/messages"),
            epoch: 1.0,
        }
    }

    fn is(amount: f64, expected: f64) -> bool {
        (amount - expected).abs() < f64::EPSILON
    }

    #[test]
    fn a_process_that_was_killed_takes_nothing_from_the_others_and_gives_them_nothing() {
        let before = counters(&[(1, 50.0), (2, 40.0)], &json!([]));
        let grown = |now: &[(u32, f64)]| before.grown(&counters(now, &json!([])), Count::Continued);
        assert!(is(grown(&[(3, 0.0), (2, 40.0)]), 0.0), "only one was started anew");
        assert!(is(grown(&[(3, 60.0), (2, 41.0)]), 61.0), "it began at 0");
        assert!(is(grown(&[(1, 52.0), (2, 40.0)]), 2.0));
        assert!(is(before.grown(&before, Count::Fences), 0.0));
    }

    #[test]
    fn queues_are_kept_apart_and_dead_letters_are_those_that_came() {
        let queues = |lane: u32, dead: u32| {
            json!([{"name": "lane-0", "message_stats": {"redeliver": lane}, "messages": 9},
                   {"name": "x.dead.rejected", "messages": dead}, {"name": "idle"}])
        };
        let before = counters(&[], &queues(5, 2));
        let now = |lane, dead| counters(&[], &queues(lane, dead));
        assert!(is(before.redelivered(&now(7, 2)), 2.0));
        assert!(is(before.redelivered(&now(3, 2)), 3.0), "its node began anew");
        assert!(is(before.dead(&now(5, 4)), 2.0));
        assert!(is(before.dead(&now(5, 1)), 0.0), "dead letters that were taken away");
        assert!(is(before.epochs(&before), 0.0));
    }

    #[test]
    fn every_count_has_its_place() {
        for (n, count) in Count::ALL.iter().enumerate() {
            assert_eq!(*count as usize, n);
        }
    }
}
