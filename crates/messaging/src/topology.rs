//! What every broker declares: exchanges, queues, bindings and their limits. One table for all
//! adapters, so that the embedded broker and RabbitMQ cannot drift apart.

use contract::events::{Channel, EventKind};

use crate::port::Subscription;

/// Direct exchange of orders, fences and barriers; routing key = lane.
pub const ORDERS: &str = "seckill.orders";
/// Topic exchange of events.
pub const EVENTS: &str = "seckill.events";
/// Fanout exchange of sale states.
pub const BROADCAST: &str = "seckill.broadcast";
/// Headers exchange of notices, by `channel` and `priority`.
pub const NOTICES: &str = "seckill.notices";
/// Headers exchange of dead letters, by cause.
pub const DEAD: &str = "seckill.dead";

/// Messages a lane holds at most; more are refused (not dead-lettered).
pub const LANE_MESSAGES_MAX: u64 = 1_000_000;
/// Messages a subscription holds at most. Of inventory's more are refused, and the outbox keeps them; of notify's the
/// oldest give way, to the dead letters.
pub const SUBSCRIPTION_MESSAGES_MAX: u64 = 1_000_000;
/// Notices a channel holds at most; the oldest give way, to the dead letters.
pub const NOTICES_MAX: u64 = 100_000;
/// Dead letters a cause holds at most; the oldest give way.
pub const DEAD_LETTERS_MAX: u64 = 100_000;
/// Deliveries without acknowledgement before a message is dead-lettered. A backstop only: a killed
/// consumer counts against every message it held, so a low limit would kill good orders.
pub const DELIVERY_LIMIT: u32 = 100;
/// The longest body of a message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// How long a message may wait in a lane or subscription, in milliseconds (a week).
pub const MESSAGE_TTL_MS: i64 = 7 * 24 * 3600 * 1000;

/// The limits a broker declares its queues with. The defaults are the constants above; tests lower
/// them to reach the edges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Messages ready in a lane; more are refused.
    pub lane_messages_max: u64,
    /// Messages ready in a subscription.
    pub subscription_messages_max: u64,
    /// Notices ready in a channel; the oldest give way.
    pub notices_max: u64,
    /// Dead letters of a cause; the oldest give way.
    pub dead_letters_max: u64,
    /// Deliveries without acknowledgement that a message survives.
    pub delivery_limit: u32,
    /// How long a message may wait, in milliseconds.
    pub message_ttl_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lane_messages_max: LANE_MESSAGES_MAX,
            subscription_messages_max: SUBSCRIPTION_MESSAGES_MAX,
            notices_max: NOTICES_MAX,
            dead_letters_max: DEAD_LETTERS_MAX,
            delivery_limit: DELIVERY_LIMIT,
            message_ttl_ms: MESSAGE_TTL_MS,
        }
    }
}

/// Why a message became a dead letter; the header `x-first-death-reason`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// A consumer said it can never be processed.
    Rejected,
    /// It waited longer than its queue allows.
    Expired,
    /// It was delivered too often.
    DeliveryLimit,
    /// Its queue was full and it was the oldest (notices, and what notify hears).
    MaxLen,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Expired, Self::DeliveryLimit, Self::MaxLen];

    /// The header's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::DeliveryLimit => "delivery_limit",
            Self::MaxLen => "maxlen",
        }
    }

    /// The queue that collects it.
    #[must_use]
    pub fn queue(self) -> String {
        format!("seckill.dead.{}", self.as_str())
    }
}

/// The queue of a lane.
#[must_use]
pub fn lane_queue(lane: u16) -> String {
    format!("seckill.orders.lane-{lane}")
}

/// The queue of a subscription.
#[must_use]
pub fn subscription_queue(subscription: Subscription) -> String {
    match subscription {
        Subscription::Inventory => "seckill.inventory".into(),
        Subscription::Notify => "seckill.notify".into(),
        Subscription::Notices(channel) => format!("seckill.notices.{}", channel.as_str()),
    }
}

/// Every durable subscription.
pub const SUBSCRIPTIONS: [Subscription; 5] = [
    Subscription::Inventory,
    Subscription::Notify,
    Subscription::Notices(Channel::Email),
    Subscription::Notices(Channel::Sms),
    Subscription::Notices(Channel::Shipping),
];

/// What a queue does when it is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overflow {
    /// The publisher is told, and keeps the message.
    Refuse,
    /// The oldest message goes to the dead letters.
    DropHead,
}

/// How many messages a subscription holds, and what happens to more. Only inventory must miss nothing: notices are
/// written at a slower pace than orders are paid, and must hold up nobody else's events.
pub(crate) fn bounds(subscription: Subscription, limits: &Limits) -> (u64, Overflow) {
    match subscription {
        Subscription::Inventory => (limits.subscription_messages_max, Overflow::Refuse),
        Subscription::Notify => (limits.subscription_messages_max, Overflow::DropHead),
        Subscription::Notices(_) => (limits.notices_max, Overflow::DropHead),
    }
}

/// The topic patterns a subscription is bound by; empty for notices, which are routed by headers.
#[must_use]
pub fn patterns(subscription: Subscription) -> &'static [&'static str] {
    match subscription {
        Subscription::Inventory => &["order.*", "ledger.*"],
        Subscription::Notify => &["order.*"],
        Subscription::Notices(_) => &[],
    }
}

/// Whether a topic pattern (`*` is one word) matches an event's routing key.
#[must_use]
pub fn matches(pattern: &str, kind: EventKind) -> bool {
    let mut words = kind.routing_key().split('.');
    pattern.split('.').all(|p| words.next().is_some_and(|w| p == "*" || p == w)) && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_exactly_one_word() {
        assert!(matches("order.*", EventKind::OrderPaid));
        assert!(matches("ledger.barrier", EventKind::BarrierReached));
        assert!(!matches("*", EventKind::OrderPaid));
        assert!(!matches("order.*", EventKind::BarrierReached));
        assert!(!matches("order.paid.*", EventKind::OrderPaid));
    }

    /// A consumer that is killed counts against every message it held. One that is killed again and again, as in a bad
    /// deployment, must not cost the order of anybody who was told 202.
    #[test]
    fn a_message_survives_at_least_a_hundred_killed_consumers() {
        assert!(Limits::default().delivery_limit >= 100);
    }

    #[test]
    fn every_event_reaches_a_subscription() {
        for kind in EventKind::ALL {
            assert!(
                SUBSCRIPTIONS.iter().any(|s| patterns(*s).iter().any(|p| matches(p, kind))),
                "{kind:?} would be unroutable"
            );
        }
    }
}
