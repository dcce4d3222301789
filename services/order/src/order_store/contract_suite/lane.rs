//! Orders of a lane.

use contract::lane::LaneMessage;
use domain::{OrderStatus, ReservationId, SaleId};

use super::bench::{Bench, PAY_WITHIN_S, PRICE, START, buyer, id, order, sale};
use crate::order_store::StoreError;
use contract::events::EventKind;

pub(in crate::order_store) async fn orders_take_units_until_they_are_gone_and_the_rest_is_rejected_by_row(
    bench: Bench,
) {
    let bench = bench.with_sale(3, 2).await;
    let outcome = bench.commit(&[order(1, "a", 2), order(2, "b", 2), order(3, "c", 1)]).await;
    assert_eq!((outcome.taken, outcome.rejected, outcome.duplicates), (2, 1, 0));
    assert_eq!(bench.status(1).await, OrderStatus::PendingPayment);
    assert_eq!(bench.record(2).await.reason.as_deref(), Some("no_units"));
    assert_eq!(bench.taken().await, 3);
    let first = |n| ReservationId::first(id(n)).to_string();
    assert_eq!(
        bench.told().await,
        [(EventKind::OrderPlaced, vec![first(1), first(3)]), (EventKind::OrderRejected, vec![first(2)])],
        "one event per kind"
    );
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_batch_that_comes_again_changes_nothing(bench: Bench) {
    let bench = bench.with_sale(5, 2).await;
    let batch = [order(1, "a", 1), order(2, "b", 2), order(3, "a", 2)];
    bench.commit(&batch).await;
    bench.told().await;
    let again = bench.commit(&batch).await;
    assert_eq!((again.taken, again.rejected, again.duplicates), (0, 0, 3));
    assert_eq!(bench.taken().await, 3);
    assert_eq!(bench.told().await, [], "the outbox has told it");
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn known_orders_in_a_batch_leave_the_units_to_the_new_ones(bench: Bench) {
    let bench = bench.with_sale(2, 2).await;
    bench.commit(&[order(1, "a", 1)]).await;
    bench.commit(&[order(1, "a", 1), order(2, "b", 1)]).await;
    assert_eq!(bench.status(2).await, OrderStatus::PendingPayment, "a redelivery must not cost a unit");
    assert_eq!(bench.taken().await, 2);
}

pub(in crate::order_store) async fn a_known_order_amid_new_ones_is_left_as_it_is(bench: Bench) {
    let bench = bench.with_sale(3, 2).await;
    bench.commit(&[order(2, "b", 1)]).await;
    bench.told().await;
    let outcome = bench.commit(&[order(1, "a", 1), order(2, "b", 1), order(3, "c", 1)]).await;
    assert_eq!((outcome.taken, outcome.rejected, outcome.duplicates), (2, 0, 1));
    let first = |n| ReservationId::first(id(n)).to_string();
    assert_eq!(bench.told().await, [(EventKind::OrderPlaced, vec![first(1), first(3)])]);
    assert_eq!(bench.taken().await, 3);
    bench.assert_sound().await;
}

/// One id in two sales can only be a forgery or a bug; the second sale must not pay for it.
pub(in crate::order_store) async fn only_rows_really_inserted_are_counted(bench: Bench) {
    let bench = bench.with_sale(5, 2).await;
    let other: SaleId = "vase".parse().unwrap();
    bench.put(&other, 5, 1, 2).await;
    let mut twin = order(1, "a", 1);
    if let LaneMessage::Order(twin) = &mut twin {
        twin.sale = other.clone();
    }
    let outcome = bench.commit(&[order(1, "a", 1), twin]).await;
    assert_eq!((outcome.taken, outcome.duplicates), (1, 1));
    assert_eq!(bench.store.allocation(&other).await.unwrap().unwrap().guard.taken, 0);
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_buyers_live_units_stay_within_the_limit_over_batches(bench: Bench) {
    let bench = bench.with_sale(9, 2).await;
    bench.commit(&[order(1, "a", 1)]).await;
    bench.commit(&[order(2, "a", 2), order(3, "a", 1), order(4, "a", 1)]).await;
    assert_eq!(bench.record(2).await.reason.as_deref(), Some("buyer_limit"));
    assert_eq!(bench.status(3).await, OrderStatus::PendingPayment);
    assert_eq!(bench.record(4).await.reason.as_deref(), Some("buyer_limit"));
    bench.store.cancel(id(1), &buyer("a")).await.unwrap();
    bench.commit(&[order(5, "a", 1)]).await;
    assert_eq!(bench.status(5).await, OrderStatus::PendingPayment, "a cancel gives the limit back");
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn amounts_and_due_times_come_from_the_allocation(bench: Bench) {
    let bench = bench.with_sale(9, 3).await;
    bench.pass(250).await;
    bench.commit(&[order(1, "a", 3)]).await;
    let record = bench.record(1).await;
    assert_eq!((record.amount.cents, record.amount.currency.as_str()), (3 * PRICE, "EUR"));
    assert_eq!(record.created_at, START, "when its units were reserved");
    assert_eq!(record.pay_by, START.plus(250 + i64::from(PAY_WITHIN_S) * 1000), "from the commit on");
}

pub(in crate::order_store) async fn an_unknown_sale_or_an_impossible_amount_is_no_outage(bench: Bench) {
    let nowhere = bench.store.commit_batch(&[order(1, "a", 1)]).await;
    assert_eq!(nowhere, Err(StoreError::UnknownSale(sale())));
    let bench = bench.with_sale(9, 3).await;
    let nothing = bench.store.commit_batch(&[order(1, "a", 0)]).await;
    assert!(matches!(nothing, Err(StoreError::Refused(_))), "{nothing:?}");
    assert_eq!(bench.store.order(id(1)).await.unwrap(), None);
    assert_eq!(bench.told().await, []);
}

pub(in crate::order_store) async fn one_bad_batch_does_not_spoil_those_that_share_its_commit(bench: Bench) {
    let bench = bench.with_sale(100, 1).await;
    let batches: Vec<[LaneMessage; 1]> =
        (1..=20).map(|n| [order(n, &format!("b{n}"), u32::from(n != 7))]).collect();
    let results =
        futures_util::future::join_all(batches.iter().map(|batch| bench.store.commit_batch(batch))).await;
    for (n, result) in (1..).zip(results) {
        assert_eq!(result.is_ok(), n != 7, "batch {n}: {result:?}");
    }
    assert_eq!(bench.taken().await, 19);
    bench.assert_sound().await;
}
