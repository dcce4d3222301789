//! What is written to whom when something happens to an order.

use contract::events::{Channel, Event, EventKind, Notice, OrderFact, Priority};

/// The notices an event calls for, in the order of its orders.
pub(crate) fn notices(event: &Event) -> Vec<Notice> {
    event.orders.iter().flat_map(|fact| of_order(event, fact)).collect()
}

fn of_order(event: &Event, fact: &OrderFact) -> Vec<Notice> {
    let amount = amount(fact);
    let order = fact.order;
    let write = |channel, priority, subject: &str, body: String| Notice {
        id: format!("{}-{order}-{}", event.kind.routing_key(), Channel::as_str(channel)),
        channel,
        priority,
        buyer: fact.buyer.clone(),
        order_id: order,
        subject: subject.into(),
        body,
        created_at: event.at,
    };
    match event.kind {
        EventKind::OrderPlaced => vec![write(
            Channel::Email,
            Priority::High,
            "Your order is in: please pay",
            format!(
                "Order {order}: {} unit(s), {amount}. We hold them for you until the time is up.",
                fact.quantity
            ),
        )],
        EventKind::OrderPaid => vec![
            write(
                Channel::Email,
                Priority::Normal,
                "Thank you, your payment has arrived",
                format!("Order {order}: {amount} received. We are packing {} unit(s).", fact.quantity),
            ),
            write(
                Channel::Shipping,
                Priority::Normal,
                "Ship an order",
                format!("Order {order}: {} unit(s) for buyer {}.", fact.quantity, fact.buyer),
            ),
        ],
        EventKind::OrderExpired => vec![write(
            Channel::Email,
            Priority::Normal,
            "Your order has expired",
            format!("Order {order} was not paid in time. Its {} unit(s) went back on sale.", fact.quantity),
        )],
        EventKind::OrderRefunded => vec![
            write(
                Channel::Email,
                Priority::Normal,
                "Your money is on its way back",
                format!("Order {order} was refunded: {amount}."),
            ),
            write(
                Channel::Sms,
                Priority::High,
                "Refund",
                format!("We have refunded {amount} for order {order}."),
            ),
        ],
        // The buyer did it, or sees it on the page at once.
        EventKind::OrderCancelled | EventKind::OrderRejected | EventKind::BarrierReached => Vec::new(),
    }
}

fn amount(fact: &OrderFact) -> String {
    domain::money::shown(fact.amount_cents, &fact.currency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Epoch, OrderId, ReservationId, UnixMillis};

    fn event(kind: EventKind) -> Event {
        let order = OrderId::mint(UnixMillis(1), [3; 10]);
        Event {
            id: "e".into(),
            kind,
            sale: "s".parse().unwrap(),
            epoch: Epoch(1),
            at: UnixMillis(9),
            orders: vec![OrderFact {
                order,
                reservation: ReservationId::first(order),
                buyer: "ann".parse().unwrap(),
                quantity: 2,
                amount_cents: 1_205,
                currency: "EUR".into(),
                pay_by: UnixMillis(99),
            }],
        }
    }

    #[test]
    fn the_same_event_writes_the_same_ids() {
        assert_eq!(notices(&event(EventKind::OrderPaid)), notices(&event(EventKind::OrderPaid)));
    }

    #[test]
    fn a_paid_order_goes_to_its_buyer_and_to_the_warehouse() {
        let channels: Vec<_> = notices(&event(EventKind::OrderPaid)).iter().map(|n| n.channel).collect();
        assert_eq!(channels, [Channel::Email, Channel::Shipping]);
        assert!(notices(&event(EventKind::OrderPaid))[0].body.contains("12.05 EUR"));
    }
}
