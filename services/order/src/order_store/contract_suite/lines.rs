//! Fences and barriers, in line with orders.

use contract::events::EventKind;
use contract::lane::LaneMessage;
use domain::{Epoch, OrderStatus, ReservationId, SaleId};

use super::bench::{Bench, barrier, buyer, fence, id, order, order_in, sale};
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

/// Fences of every kind, in batches of `size`; their orders are those from `base` on. Answers what was told, and where
/// the orders stand; the orders are numbered from 1 in both.
async fn fenced(bench: &Bench, base: u32, size: usize) -> (Vec<String>, Vec<String>) {
    let (at, who) = (|n: u32| id(base + n), |n: u32| format!("b{}", base + n));
    bench.commit(&[order(base + 1, &who(1), 1), order(base + 2, &who(2), 1)]).await;
    bench.store.cancel(at(2), &buyer(&who(2))).await.unwrap();
    bench.told().await;
    let first = |n| fence(ReservationId::first(at(n)), &who(n), 1);
    let late = |n| fence(ReservationId::late(at(n)), &who(n), 1);
    let mut elsewhere = first(5);
    if let LaneMessage::Fence(elsewhere) = &mut elsewhere {
        elsewhere.sale = vase();
    }
    let fences =
        [first(1), first(2), first(3), first(3), late(3), late(4), first(4), late(1), elsewhere, first(5)];
    for batch in fences.chunks(size) {
        assert_eq!(bench.commit(batch).await.fences, batch.len() as u64);
    }
    let numbered =
        |text: String| (1..=5).fold(text, |text, n| text.replace(&at(n).to_string(), &n.to_string()));
    let mut told = Vec::new();
    for (kind, reservations) in bench.told().await {
        told.extend(reservations.into_iter().map(|r| numbered(format!("{kind:?} {r}"))));
    }
    told.sort();
    let mut rows = Vec::new();
    for n in 1..=5 {
        let row = bench.record(base + n).await;
        rows.push(format!("{n} {} {} {:?}", row.sale, row.status, row.reason));
    }
    (told, rows)
}

fn vase() -> SaleId {
    "vase".parse().unwrap()
}

pub(in crate::order_store) async fn a_fence_among_many_does_what_it_would_alone(bench: Bench) {
    let bench = bench.with_sale(9, 1).await;
    bench.put(&vase(), 9, 1, 1).await;
    let alone = fenced(&bench, 0, 1).await;
    let expected = [
        "OrderCancelled 2",
        "OrderExpired 1.late",
        "OrderExpired 3.late",
        "OrderExpired 4.late",
        "OrderPlaced 1",
        "OrderRejected 3",
        "OrderRejected 3",
        "OrderRejected 4",
        "OrderRejected 5",
        "OrderRejected 5",
    ];
    assert_eq!(alone.0, expected);
    assert!(alone.1[4].starts_with("5 vase rejected"), "the first one made the row: {:?}", alone.1);
    for (base, size) in [(10, 2), (20, 3), (30, 10)] {
        assert_eq!(fenced(&bench, base, size).await, alone, "in batches of {size}");
    }
    let rejected = async |sale: SaleId| bench.store.allocation(&sale).await.unwrap().unwrap().counts.rejected;
    assert_eq!((rejected(sale()).await, rejected(vase()).await), (8, 4), "each row counts once");
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_fence_is_one_of_a_thousand(bench: Bench) {
    let bench = bench.with_sale(9, 1).await;
    bench.commit(&[order(7, "b7", 1)]).await;
    bench.told().await;
    let fences: Vec<_> =
        (1..=1_000).map(|n| fence(ReservationId::first(id(n)), &format!("b{n}"), 1)).collect();
    for _ in 0..2 {
        assert_eq!(bench.commit(&fences).await.fences, 1_000);
        let counts = bench.store.allocation(&sale()).await.unwrap().unwrap().counts;
        assert_eq!((counts.rejected, counts.pending_payment), (999, 1), "also when they come again");
        let told: usize = bench.told().await.iter().map(|(_, reservations)| reservations.len()).sum();
        assert_eq!(told, 1_000);
    }
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
