//! Where a message goes.

use contract::events::{Channel, EventKind, Priority};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::topology::{self, Limits, Overflow, SUBSCRIPTIONS};

/// The delivery mode of a message that is written to disk.
const PERSISTENT: u8 = 2;
/// The delivery mode of one that is not.
const TRANSIENT: u8 = 1;
/// The protocol's short strings, message ids among them, have this many bytes at most.
const SHORT_BYTES_MAX: usize = 255;

/// Where a message goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Target {
    /// A lane.
    Lane(u16),
    /// Whoever hears events of this kind.
    Event(EventKind),
    /// The deliverers of a channel.
    Notice(Channel, Priority),
    /// Every gateway that listens.
    Broadcast,
    /// One queue, by name: a dead letter goes back to where it died.
    Queue(String),
}

impl Target {
    pub(super) fn exchange(&self) -> ShortString {
        match self {
            Self::Lane(_) => topology::ORDERS,
            Self::Event(_) => topology::EVENTS,
            Self::Notice(..) => topology::NOTICES,
            Self::Broadcast => topology::BROADCAST,
            Self::Queue(_) => "",
        }
        .into()
    }

    pub(super) fn key(&self) -> ShortString {
        match self {
            Self::Lane(lane) => lane.to_string().into(),
            Self::Event(kind) => kind.routing_key().into(),
            Self::Notice(..) | Self::Broadcast => "".into(),
            Self::Queue(name) => name.as_str().into(),
        }
    }

    /// Whether the broker must say so when no queue takes it. Nobody listening to broadcasts is fine.
    pub(super) fn mandatory(&self) -> bool {
        *self != Self::Broadcast
    }

    pub(super) fn properties(&self, id: &str) -> BasicProperties {
        let mode = if *self == Self::Broadcast { TRANSIENT } else { PERSISTENT };
        let properties = BasicProperties::default()
            .with_delivery_mode(mode)
            .with_content_type("application/json".into())
            .with_message_id(short(id).into());
        match self {
            Self::Notice(channel, priority) => {
                let mut headers = FieldTable::default();
                let text = |text: &str| AMQPValue::LongString(text.into());
                headers.insert("channel".into(), text(channel.as_str()));
                headers.insert("priority".into(), text(priority.as_str()));
                properties.with_headers(headers)
            }
            _ => properties,
        }
    }

    /// The queues that may refuse it, with their limits.
    pub(super) fn refusing(&self, limits: &Limits) -> Vec<(String, u64)> {
        let heard_by = |kind: EventKind| {
            SUBSCRIPTIONS
                .into_iter()
                .filter(move |s| topology::patterns(*s).iter().any(|p| topology::matches(p, kind)))
                .map(topology::subscription_queue)
                .filter_map(|queue| refusing(&queue, limits).map(|max| (queue, max)))
        };
        match self {
            Self::Lane(lane) => vec![(topology::lane_queue(*lane), limits.lane_messages_max)],
            Self::Event(kind) => heard_by(*kind).collect(),
            Self::Queue(name) => refusing(name, limits).map(|max| (name.clone(), max)).into_iter().collect(),
            Self::Notice(..) | Self::Broadcast => Vec::new(),
        }
    }

    /// Its name in errors and logs.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Lane(lane) => topology::lane_queue(*lane),
            Self::Event(kind) => kind.routing_key().to_owned(),
            Self::Notice(channel, _) => format!("notices by {}", channel.as_str()),
            Self::Broadcast => topology::BROADCAST.to_owned(),
            Self::Queue(name) => name.clone(),
        }
    }
}

fn refusing(queue: &str, limits: &Limits) -> Option<u64> {
    let subscription = SUBSCRIPTIONS.into_iter().find(|s| topology::subscription_queue(*s) == queue);
    match subscription.map(|s| topology::bounds(s, limits)) {
        Some((_, Overflow::DropHead)) => None,
        Some((messages_max, Overflow::Refuse)) => Some(messages_max),
        None => Some(limits.lane_messages_max),
    }
}

/// An id as a message property. Those the platform mints are all shorter.
pub(super) fn short(id: &str) -> &str {
    &id[..id.floor_char_boundary(SHORT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_broadcasts_may_go_unheard_or_be_forgotten() {
        let orders = Target::Lane(3);
        assert!(orders.mandatory());
        assert_eq!(*orders.properties("id").delivery_mode(), Some(PERSISTENT));
        assert_eq!(orders.key().as_str(), "3");
        assert!(!Target::Broadcast.mandatory());
        assert_eq!(*Target::Broadcast.properties("id").delivery_mode(), Some(TRANSIENT));
    }

    #[test]
    fn an_event_is_refused_by_whom_it_would_reach() {
        let queues = |target: Target| target.refusing(&Limits::default()).into_iter().map(|(name, _)| name);
        assert!(queues(Target::Event(EventKind::OrderPaid)).eq(["seckill.inventory"]), "notify's gives way");
        assert!(queues(Target::Event(EventKind::BarrierReached)).eq(["seckill.inventory"]));
        assert_eq!(queues(Target::Notice(Channel::Sms, Priority::High)).count(), 0);
        assert_eq!(queues(Target::Queue("seckill.notices.sms".into())).count(), 0);
    }
}
