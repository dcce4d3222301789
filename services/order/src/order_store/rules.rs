//! What messages make of the ledger, without any engine.

use contract::events::EventKind;
use contract::lane::{FenceMessage, OrderMessage};
use domain::{Claim, Decision, OrderStatus, Rejection, ReservationId, UnixMillis};

use super::{AllocationRecord, OrderRecord, StoreError};

/// The epoch a sale's stock state starts with.
pub(super) const FIRST_EPOCH: i64 = 1;
/// Orders one event names at most, so that no message grows with the backlog.
pub(super) const EVENT_ORDERS_MAX: usize = 500;

/// What an order's message claims.
pub(super) fn claim(message: &OrderMessage) -> Claim {
    Claim {
        order: message.order,
        buyer: message.buyer.clone(),
        quantity: message.quantity,
        epoch: message.epoch,
    }
}

/// The row a decision makes; none for a duplicate.
pub(super) fn row_of(
    now: UnixMillis,
    allocation: &AllocationRecord,
    message: &OrderMessage,
    decision: Decision,
) -> Result<Option<OrderRecord>, StoreError> {
    let (status, reason) = match decision {
        Decision::Duplicate => return Ok(None),
        Decision::Take => (OrderStatus::PendingPayment, None),
        Decision::Reject(reason) => (OrderStatus::Rejected, Some(reason.as_str().to_owned())),
    };
    Ok(Some(OrderRecord {
        id: message.order,
        sale: message.sale.clone(),
        buyer: message.buyer.clone(),
        quantity: message.quantity,
        amount: allocation
            .price
            .times(message.quantity)
            .map_err(|e| StoreError::Refused(format!("order {}: {e}", message.order)))?,
        status,
        late: false,
        reason,
        created_at: message.reserved_at,
        pay_by: pay_by(now, allocation),
    }))
}

/// The row a fence leaves where no order came.
pub(super) fn fenced(
    now: UnixMillis,
    allocation: &AllocationRecord,
    fence: &FenceMessage,
) -> Result<OrderRecord, StoreError> {
    Ok(OrderRecord {
        id: fence.reservation.order,
        sale: fence.sale.clone(),
        buyer: fence.buyer.clone(),
        quantity: fence.quantity,
        amount: allocation.price.times(fence.quantity).map_err(|e| StoreError::Refused(e.to_string()))?,
        status: OrderStatus::Rejected,
        late: false,
        reason: Some(Rejection::Fenced.as_str().into()),
        created_at: fence.reserved_at,
        pay_by: pay_by(now, allocation),
    })
}

fn pay_by(now: UnixMillis, allocation: &AllocationRecord) -> UnixMillis {
    now.plus(i64::from(allocation.pay_within_s) * 1000)
}

/// The event that settles or releases this reservation of the order.
pub(super) fn kind_about(order: &OrderRecord, reservation: ReservationId) -> EventKind {
    if reservation == order.reservation() {
        EventKind::of_status(order.status).unwrap_or(EventKind::OrderExpired)
    } else {
        // The units are held by the order's other reservation, or by none.
        EventKind::OrderExpired
    }
}

/// How long after its order's time to pay a payment that nobody told the end of is first asked about, in milliseconds:
/// its webhook may still be on its way.
pub(super) const UNREPORTED_AFTER_MS: i64 = 5_000;
