//! What a transaction does to one allocation, as differences: they hold whatever others did to it before.

use domain::{Epoch, OrderStatus};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Moves {
    pub(super) taken: i64,
    pub(super) pending_payment: i64,
    pub(super) paid: i64,
    pub(super) cancelled: i64,
    pub(super) expired: i64,
    pub(super) rejected: i64,
    pub(super) refunded: i64,
    /// What the epoch is raised to.
    pub(super) epoch: Option<Epoch>,
}

impl Moves {
    /// Adds an order's move; answers by how many units `taken` moves.
    pub(super) fn add(&mut self, quantity: u32, from: Option<OrderStatus>, to: OrderStatus) -> i32 {
        let quantity = i32::try_from(quantity).unwrap_or(i32::MAX);
        let units = match (from.is_some_and(OrderStatus::holds_units), to.holds_units()) {
            (false, true) => quantity,
            (true, false) => -quantity,
            _ => 0,
        };
        self.taken += i64::from(units);
        for (status, by) in from.map(|from| (from, -1)).into_iter().chain([(to, 1)]) {
            if let Some(counter) = self.counter(status) {
                *counter += by;
            }
        }
        units
    }

    pub(super) fn raise_epoch(&mut self, to: Epoch) {
        self.epoch = Some(to);
    }

    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn counter(&mut self, status: OrderStatus) -> Option<&mut i64> {
        match status {
            OrderStatus::Queued => None,
            OrderStatus::PendingPayment => Some(&mut self.pending_payment),
            OrderStatus::Paid => Some(&mut self.paid),
            OrderStatus::Cancelled => Some(&mut self.cancelled),
            OrderStatus::Expired => Some(&mut self.expired),
            OrderStatus::Rejected => Some(&mut self.rejected),
            OrderStatus::Refunded => Some(&mut self.refunded),
        }
    }
}
