//! Fences and barriers, in line with orders.

use contract::events::EventKind;
use domain::{Epoch, OrderStatus, ReservationId};

use super::bench::{Bench, barrier, buyer, fence, id, order, order_in};
use crate::order_store::LateCommit;

pub(in crate::order_store) async fn a_fence_closes_what_never_came_and_tells_again_what_did(bench: Bench) {
    let bench = bench.with_sale(9, 2).await;
    bench.commit(&[order(1, "a", 1)]).await;
    bench.told().await;
    let (came, never) = (ReservationId::first(id(1)), ReservationId::first(id(2)));
    let outcome = bench.commit(&[fence(came, "a", 1), fence(never, "b", 1)]).await;
    assert_eq!(outcome.fences, 2);
    assert_eq!(bench.status(1).await, OrderStatus::PendingPayment);
    assert_eq!(bench.record(2).await.reason.as_deref(), Some("fenced"));
    assert_eq!(
        bench.told().await,
        [
            (EventKind::OrderPlaced, vec![came.to_string()]),
            (EventKind::OrderRejected, vec![never.to_string()])
        ]
    );
    bench.store.cancel(id(1), &buyer("a")).await.unwrap();
    bench.told().await;
    bench.commit(&[fence(came, "a", 1), order(2, "b", 1)]).await;
    assert_eq!(bench.told().await, [(EventKind::OrderCancelled, vec![came.to_string()])]);
    assert_eq!(bench.status(2).await, OrderStatus::Rejected, "a later message meets its fence");
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_fence_works_in_line_with_the_orders_around_it(bench: Bench) {
    let bench = bench.with_sale(9, 2).await;
    let first = |n| ReservationId::first(id(n));
    bench
        .commit(&[order(1, "a", 1), fence(first(1), "a", 1), fence(first(2), "b", 1), order(2, "b", 1)])
        .await;
    assert_eq!(bench.status(1).await, OrderStatus::PendingPayment);
    assert_eq!(bench.status(2).await, OrderStatus::Rejected);
    assert_eq!(bench.taken().await, 1);
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_barrier_voids_older_messages_and_comes_again_without_effect(
    bench: Bench,
) {
    let bench = bench.with_sale(9, 2).await;
    let outcome = bench
        .commit(&[order(1, "a", 1), barrier(1), order(2, "b", 1), order_in(2, 3, "c", 1), barrier(1)])
        .await;
    assert_eq!(outcome.barriers, 2);
    assert_eq!(bench.epoch().await, Epoch(2), "the second barrier found it risen");
    assert_eq!(bench.status(1).await, OrderStatus::PendingPayment);
    assert_eq!(bench.record(2).await.reason.as_deref(), Some("old_epoch"));
    assert_eq!(bench.status(3).await, OrderStatus::PendingPayment);
    let barriers = bench
        .store
        .outbox(100)
        .await
        .unwrap()
        .into_iter()
        .filter(|r| r.event.kind == EventKind::BarrierReached);
    for row in barriers {
        assert_eq!(row.event.epoch, Epoch(2));
    }
    bench.commit(&[barrier(1)]).await;
    assert_eq!(bench.epoch().await, Epoch(2));
    bench.commit(&[barrier(5)]).await;
    assert_eq!(bench.epoch().await, Epoch(6), "above whatever the stock store had");
    bench.commit(&[barrier(1)]).await;
    assert_eq!(bench.epoch().await, Epoch(6), "an epoch never falls");
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_fence_for_a_first_reservation_releases_it_after_a_late_payment(
    bench: Bench,
) {
    let bench = bench.with_sale(9, 2).await;
    bench.commit(&[order(1, "a", 1)]).await;
    bench.pass_deadline().await;
    bench.pay(1, "p1").await;
    assert_eq!(bench.store.commit_late("p1", Epoch(1)).await.unwrap(), LateCommit::Paid);
    bench.told().await;
    let (first, late) = (ReservationId::first(id(1)), ReservationId::late(id(1)));
    bench.commit(&[fence(first, "a", 1), fence(late, "a", 1)]).await;
    let mut told = bench.told().await;
    told.sort_by_key(|(kind, _)| kind.holds_units());
    assert_eq!(
        told,
        [(EventKind::OrderExpired, vec![first.to_string()]), (EventKind::OrderPaid, vec![late.to_string()])],
        "the first is to be released, the late one to be settled"
    );
    assert_eq!(bench.status(1).await, OrderStatus::Paid);
    bench.assert_sound().await;
}
