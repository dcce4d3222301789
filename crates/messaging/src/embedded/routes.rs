//! The exchanges: which queues a message goes to.

use std::sync::Arc;

use contract::events::{Channel, EventKind};
use parking_lot::RwLock;

use super::queue::Rules;
use crate::Subscription;
use crate::topology::{self, Limits, Overflow, SUBSCRIPTIONS};

/// Consumers of a subscription that may be active at once.
const SHARING_CONSUMERS_MAX: usize = 1_024;
/// One consumer at a time, so that a lane's messages are committed in their order.
const LANE_CONSUMERS_ACTIVE: usize = 1;

/// Places of queues in the broker's table.
pub(super) type Targets = Arc<[usize]>;

/// The bindings, as places in the table that [`declared`] makes.
pub(super) struct Routes {
    lanes: u16,
    unbound: RwLock<Vec<usize>>,
    events: Vec<Targets>,
}

/// The queues of the topology, by name, with their rules: the lanes first, then the subscriptions.
pub(super) fn declared(lanes: u16, limits: &Limits) -> Vec<(String, Rules)> {
    let lane = Rules {
        messages_max: limits.lane_messages_max,
        overflow: Overflow::Refuse,
        ttl_ms: limits.message_ttl_ms,
        delivery_limit: limits.delivery_limit,
        active_max: LANE_CONSUMERS_ACTIVE,
    };
    let lanes = (0..lanes).map(|n| (topology::lane_queue(n), lane));
    let subscriptions = SUBSCRIPTIONS.iter().map(|subscription| {
        let (messages_max, overflow) = topology::bounds(*subscription, limits);
        let rules = Rules { messages_max, overflow, active_max: SHARING_CONSUMERS_MAX, ..lane };
        (topology::subscription_queue(*subscription), rules)
    });
    lanes.chain(subscriptions).collect()
}

impl Routes {
    /// The topology's bindings.
    pub(super) fn new(lanes: u16) -> Self {
        let events = EventKind::ALL
            .iter()
            .map(|kind| {
                let hears =
                    |s: &Subscription| topology::patterns(*s).iter().any(|p| topology::matches(p, *kind));
                let places = SUBSCRIPTIONS.iter().enumerate().filter(|(_, s)| hears(s));
                places.map(|(n, _)| usize::from(lanes) + n).collect()
            })
            .collect();
        Self { lanes, unbound: RwLock::default(), events }
    }

    /// How many lanes there are.
    pub(super) fn lanes(&self) -> u16 {
        self.lanes
    }

    /// The place of a lane's queue.
    pub(super) fn lane(&self, lane: u16) -> Option<usize> {
        (lane < self.lanes).then_some(usize::from(lane))
    }

    /// The place of a subscription's queue.
    pub(super) fn subscription(&self, subscription: Subscription) -> Option<usize> {
        SUBSCRIPTIONS.iter().position(|s| *s == subscription).map(|n| usize::from(self.lanes) + n)
    }

    /// Where a lane's messages go.
    pub(super) fn of_lane(&self, lane: u16) -> Targets {
        self.bound(self.lane(lane).into_iter().collect())
    }

    /// Where events of a kind go.
    pub(super) fn of_event(&self, kind: EventKind) -> Targets {
        let at = EventKind::ALL.iter().position(|k| *k == kind);
        self.bound(at.map(|at| Arc::clone(&self.events[at])).unwrap_or_default())
    }

    /// Where notices of a channel go.
    pub(super) fn of_notice(&self, channel: Channel) -> Targets {
        self.bound(self.subscription(Subscription::Notices(channel)).into_iter().collect())
    }

    /// Takes a queue's bindings away.
    pub(super) fn unbind(&self, place: usize) {
        self.unbound.write().push(place);
    }

    fn bound(&self, targets: Targets) -> Targets {
        let unbound = self.unbound.read();
        if unbound.is_empty() {
            return targets;
        }
        targets.iter().copied().filter(|place| !unbound.contains(place)).collect()
    }
}
