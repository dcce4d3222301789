//! Late payments.

use contract::events::EventKind;
use domain::{Epoch, OrderStatus, ReservationId};

use super::bench::{Bench, barrier, fence, id, order};
use crate::order_store::{Backlog, CaptureOutcome, LateCommit};

/// An expired order of buyer a, captured too late under `p1`; its unit is free again.
async fn late(bench: Bench, total: u32) -> Bench {
    let bench = bench.with_sale(total, 1).await;
    bench.commit(&[order(1, "a", 1)]).await;
    bench.pass_deadline().await;
    assert_eq!(bench.pay(1, "p1").await, CaptureOutcome::Late);
    bench.told().await;
    bench
}

pub(in crate::order_store) async fn a_late_payment_takes_its_units_again(bench: Bench) {
    let bench = late(bench, 1).await;
    bench.assert_sound().await;
    assert_eq!(bench.taken().await, 0);
    let work = bench.store.late_work(10).await.unwrap();
    assert_eq!((work.len(), work[0].order.id, work[0].reference.as_str()), (1, id(1), "p1"));
    assert_eq!(bench.store.commit_late("p1", Epoch(1)).await.unwrap(), LateCommit::Paid);
    assert_eq!(bench.store.commit_late("p1", Epoch(1)).await.unwrap(), LateCommit::Settled);
    assert_eq!((bench.status(1).await, bench.taken().await), (OrderStatus::Paid, 1));
    let late_id = ReservationId::late(id(1)).to_string();
    assert_eq!(bench.told().await, [(EventKind::OrderPaid, vec![late_id.clone()])]);
    bench.store.refund_order(id(1)).await.unwrap();
    assert_eq!(bench.told().await, [(EventKind::OrderRefunded, vec![late_id])], "what holds its units now");
    assert_eq!((bench.taken().await, bench.refunds(1).await.len()), (0, 1));
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_late_payment_without_units_is_paid_back_and_its_reservation_released(
    bench: Bench,
) {
    let bench = late(bench, 1).await;
    bench.commit(&[order(2, "b", 1)]).await;
    bench.told().await;
    assert_eq!(bench.store.commit_late("p1", Epoch(1)).await.unwrap(), LateCommit::Refused);
    assert_eq!(bench.status(1).await, OrderStatus::Expired);
    assert_eq!((bench.taken().await, bench.refunds(1).await.len()), (1, 1));
    let late_id = ReservationId::late(id(1)).to_string();
    assert_eq!(bench.told().await, [(EventKind::OrderExpired, vec![late_id])]);
    bench.store.refuse_late("p1").await.unwrap();
    assert_eq!(bench.refunds(1).await.len(), 1, "one refund per capture");
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_late_reservation_of_another_stock_state_is_made_again(bench: Bench) {
    let bench = late(bench, 1).await;
    bench.commit(&[barrier(1)]).await;
    assert_eq!(bench.store.commit_late("p1", Epoch(1)).await.unwrap(), LateCommit::OtherEpoch);
    assert_eq!(bench.taken().await, 0);
    assert_eq!(bench.store.commit_late("p1", Epoch(2)).await.unwrap(), LateCommit::Paid);
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_late_claim_is_answered_once(bench: Bench) {
    let bench = late(bench, 5).await;
    assert_eq!(bench.pay(1, "p2").await, CaptureOutcome::Late);
    bench.commit(&[fence(ReservationId::late(id(1)), "a", 1)]).await;
    let late_id = ReservationId::late(id(1)).to_string();
    assert_eq!(bench.told().await, [(EventKind::OrderExpired, vec![late_id])]);
    assert_eq!(bench.store.commit_late("p1", Epoch(1)).await.unwrap(), LateCommit::Refused, "fenced");
    assert_eq!((bench.status(1).await, bench.taken().await), (OrderStatus::Expired, 0));
    bench.store.refuse_late("p2").await.unwrap();
    assert_eq!(bench.refunds(1).await.len(), 2, "one per capture");
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_second_late_capture_is_paid_back_and_leaves_the_units_alone(
    bench: Bench,
) {
    let bench = late(bench, 5).await;
    assert_eq!(bench.pay(1, "p2").await, CaptureOutcome::Late);
    assert_eq!(bench.store.commit_late("p1", Epoch(1)).await.unwrap(), LateCommit::Paid);
    bench.told().await;
    assert_eq!(bench.store.commit_late("p2", Epoch(1)).await.unwrap(), LateCommit::Refused);
    assert_eq!(bench.told().await, [], "the reservation belongs to the paid order");
    assert_eq!((bench.status(1).await, bench.refunds(1).await.len()), (OrderStatus::Paid, 1));
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_late_payment_waits_durably_for_its_next_attempt(bench: Bench) {
    let bench = late(bench, 1).await;
    bench.store.defer_late("p1", 2_000).await.unwrap();
    assert_eq!(bench.store.late_work(10).await.unwrap(), []);
    bench.pass(2_000).await;
    let work = bench.store.late_work(10).await.unwrap();
    assert_eq!((work[0].attempts, work[0].waiting_ms), (1, 2_000));
    bench.store.refuse_late("p1").await.unwrap();
    assert_eq!(bench.store.late_work(10).await.unwrap(), []);
    assert_eq!(bench.refunds(1).await.len(), 1);
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn what_is_still_to_be_done_is_counted(bench: Bench) {
    let bench = bench.with_sale(9, 1).await;
    let backlog = async || bench.store.backlog().await.unwrap();
    assert_eq!(backlog().await, Backlog::default());
    bench.commit(&[order(1, "a", 1), order(2, "b", 1)]).await;
    bench.pass(1_500).await;
    assert_eq!(backlog().await, Backlog { outbox_oldest_ms: 1_500, ..Backlog::default() });
    bench.pay(1, "p1").await;
    bench.told().await;
    assert_eq!(backlog().await, Backlog::default());
    bench.store.refund_order(id(1)).await.unwrap();
    bench.pass_deadline().await;
    assert_eq!(bench.pay(2, "p2").await, CaptureOutcome::Late);
    bench.told().await;
    assert_eq!(backlog().await, Backlog { refunds: 1, late_payments: 1, ..Backlog::default() });
    bench.store.refund_done("p1").await.unwrap();
    assert_eq!(backlog().await, Backlog { late_payments: 1, ..Backlog::default() });
}
