//! Messages to send, told apart by a number.

use contract::events::{Channel, Event, EventKind, Notice, Priority};
use contract::lane::{LaneMessage, OrderMessage};
use domain::{Epoch, OrderId, SaleId, UnixMillis};

use crate::Delivery;

/// The sale of all samples, so that they share a lane.
#[must_use]
pub fn sale() -> SaleId {
    "sample-sale".parse().expect("an id")
}

/// The lane of all samples.
#[must_use]
pub fn lane(lanes: u16) -> u16 {
    contract::lane::lane_of(&sale(), lanes)
}

/// The n-th order.
#[must_use]
pub fn order(n: u32) -> LaneMessage {
    LaneMessage::Order(OrderMessage {
        order: OrderId::mint(UnixMillis(i64::from(n)), [7; 10]),
        sale: sale(),
        buyer: format!("buyer-{n}").parse().expect("an id"),
        quantity: n,
        epoch: Epoch(1),
        reserved_at: UnixMillis(i64::from(n)),
    })
}

/// The number of an order's delivery.
#[must_use]
pub fn number(delivery: &Delivery) -> u32 {
    match serde_json::from_slice(&delivery.body).expect("a lane message") {
        LaneMessage::Order(order) => order.quantity,
        other => panic!("not an order: {other:?}"),
    }
}

/// The numbers of deliveries.
#[must_use]
pub fn numbers(deliveries: &[Delivery]) -> Vec<u32> {
    deliveries.iter().map(number).collect()
}

/// The n-th event of a kind.
#[must_use]
pub fn event(n: u32, kind: EventKind) -> Event {
    Event {
        id: n.to_string(),
        kind,
        sale: sale(),
        epoch: Epoch(1),
        at: UnixMillis(i64::from(n)),
        orders: Vec::new(),
    }
}

/// The id of an event's delivery.
#[must_use]
pub fn event_id(delivery: &Delivery) -> String {
    serde_json::from_slice::<Event>(&delivery.body).expect("an event").id
}

/// The n-th notice of a channel.
#[must_use]
pub fn notice(n: u32, channel: Channel) -> Notice {
    Notice {
        id: n.to_string(),
        channel,
        priority: Priority::High,
        buyer: "buyer".parse().expect("an id"),
        order_id: OrderId::mint(UnixMillis(i64::from(n)), [7; 10]),
        subject: "Your order".into(),
        body: "It is here.".into(),
        created_at: UnixMillis(0),
    }
}

/// The id of a notice's delivery.
#[must_use]
pub fn notice_id(delivery: &Delivery) -> String {
    serde_json::from_slice::<Notice>(&delivery.body).expect("a notice").id
}
