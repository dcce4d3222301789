//! What travels down a lane: orders, and the fences and barriers that travel in line with them.

use domain::{BuyerId, Epoch, OrderId, ReservationId, SaleId, UnixMillis};
use serde::{Deserialize, Serialize};

/// One message of a lane.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LaneMessage {
    /// A reserved order to commit.
    Order(OrderMessage),
    /// The end of a reservation whose order never came.
    Fence(FenceMessage),
    /// The line between two stock states of a sale.
    Barrier(BarrierMessage),
}

impl LaneMessage {
    /// The sale it belongs to, which decides its lane.
    #[must_use]
    pub fn sale(&self) -> &SaleId {
        match self {
            Self::Order(m) => &m.sale,
            Self::Fence(m) => &m.sale,
            Self::Barrier(m) => &m.sale,
        }
    }

    /// The message id: the same for every publish of the same intention, so that returned messages
    /// and duplicates can be told apart.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Order(m) => m.order.to_string(),
            Self::Fence(m) => format!("fence-{}", m.reservation),
            Self::Barrier(m) => format!("barrier-{}-{}", m.sale, m.above.0),
        }
    }
}

/// An order whose units are reserved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderMessage {
    /// The ticket's order id.
    #[serde(with = "crate::text")]
    pub order: OrderId,
    /// The sale.
    #[serde(with = "crate::text")]
    pub sale: SaleId,
    /// The buyer.
    #[serde(with = "crate::text")]
    pub buyer: BuyerId,
    /// Units, at least 1.
    pub quantity: u32,
    /// The stock state the units were reserved in.
    #[serde(with = "crate::text::epoch")]
    pub epoch: Epoch,
    /// When the gateway reserved them.
    #[serde(with = "crate::text::millis")]
    pub reserved_at: UnixMillis,
}

/// "If this reservation's order is not in the ledger by now, it never will be."
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FenceMessage {
    /// The reservation to fence, the late one of an order included.
    #[serde(with = "crate::text")]
    pub reservation: ReservationId,
    /// The sale.
    #[serde(with = "crate::text")]
    pub sale: SaleId,
    /// The buyer.
    #[serde(with = "crate::text")]
    pub buyer: BuyerId,
    /// Units held.
    pub quantity: u32,
    /// When they were reserved.
    #[serde(with = "crate::text::millis")]
    pub reserved_at: UnixMillis,
}

/// "Raise the sale's epoch here": whatever was reserved before and has not been committed is void.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BarrierMessage {
    /// The sale.
    #[serde(with = "crate::text")]
    pub sale: SaleId,
    /// The epoch to rise above. A barrier that comes twice finds the epoch risen and changes nothing.
    #[serde(with = "crate::text::epoch")]
    pub above: Epoch,
}

/// The lane of a sale: a stable hash, so that every gateway of every version agrees.
#[must_use]
pub fn lane_of(sale: &SaleId, lanes: u16) -> u16 {
    // FNV-1a: fixed for ever, unlike the standard library's hashers.
    let hash = sale
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    u16::try_from(hash % u64::from(lanes.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_wire_and_unknown_fields_do_not() {
        let message = LaneMessage::Order(OrderMessage {
            order: OrderId::mint(UnixMillis(7), [1; 10]),
            sale: "s".parse().unwrap(),
            buyer: "b".parse().unwrap(),
            quantity: 2,
            epoch: Epoch(3),
            reserved_at: UnixMillis(9),
        });
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<LaneMessage>(&text).unwrap(), message);
        let extra = text.replacen('{', r#"{"x":1,"#, 1);
        assert!(serde_json::from_str::<LaneMessage>(&extra).is_err());
    }

    #[test]
    fn a_sale_keeps_its_lane() {
        let sale = "demo".parse().unwrap();
        assert_eq!(lane_of(&sale, 8), lane_of(&sale, 8));
        assert_eq!(lane_of(&sale, 1), 0);
        let used: std::collections::HashSet<u16> =
            (0..100).map(|n| lane_of(&format!("sale-{n}").parse().unwrap(), 8)).collect();
        assert_eq!(used.len(), 8, "a hundred sales should use every lane");
    }
}
