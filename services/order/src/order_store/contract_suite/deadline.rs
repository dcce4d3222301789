//! Cancelling, paying and expiring around the moment payment is due.

use contract::events::EventKind;
use domain::{OrderStatus, ReservationId};

use super::bench::{Bench, PAY_WITHIN_S, buyer, id, order};
use crate::order_store::{Cancelled, Capture, CaptureOutcome, PaymentBegun, Provenance};

pub(in crate::order_store) async fn a_cancel_gives_units_back_and_only_before_payment(bench: Bench) {
    let bench = bench.with_sale(2, 1).await;
    bench.commit(&[order(1, "a", 1), order(2, "b", 1)]).await;
    bench.told().await;
    assert_eq!(bench.store.cancel(id(1), &buyer("b")).await.unwrap(), Cancelled::NotFound);
    let done = bench.store.cancel(id(1), &buyer("a")).await.unwrap();
    assert!(matches!(&done, Cancelled::Done(o) if o.status == OrderStatus::Cancelled), "{done:?}");
    let again = bench.store.cancel(id(1), &buyer("a")).await.unwrap();
    assert_eq!(again, Cancelled::NotCancellable(OrderStatus::Cancelled));
    bench.pay(2, "p2").await;
    let paid = bench.store.cancel(id(2), &buyer("b")).await.unwrap();
    assert_eq!(paid, Cancelled::NotCancellable(OrderStatus::Paid));
    assert_eq!(bench.taken().await, 1);
    let first = |n| vec![ReservationId::first(id(n)).to_string()];
    assert_eq!(bench.told().await, [(EventKind::OrderCancelled, first(1)), (EventKind::OrderPaid, first(2))]);
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_deadline_is_the_first_moment_too_late(bench: Bench) {
    let bench = bench.with_sale(3, 1).await;
    bench.commit(&[order(1, "a", 1), order(2, "b", 1), order(3, "c", 1)]).await;
    bench.pass(i64::from(PAY_WITHIN_S) * 1000 - 1).await;
    assert_eq!(bench.store.expire(&[id(1)]).await.unwrap(), 0, "a millisecond is left");
    assert_eq!(bench.store.overdue(10).await.unwrap(), []);
    assert_eq!(bench.store.overdue_payments(10).await.unwrap(), []);
    assert_eq!(bench.pay(1, "p1").await, CaptureOutcome::Paid);
    bench.pass(1).await;
    assert_eq!(bench.pay(2, "p2").await, CaptureOutcome::Late);
    assert_eq!(bench.status(2).await, OrderStatus::Expired);
    let cancel = bench.store.cancel(id(3), &buyer("c")).await.unwrap();
    assert!(matches!(cancel, Cancelled::NotCancellable(_)), "{cancel:?}");
    let begin = bench.store.begin_payment(id(3), &buyer("c")).await.unwrap();
    assert!(matches!(begin, PaymentBegun::NotPayable(_)), "{begin:?}");
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn expiry_takes_only_what_is_unpaid_and_overdue(bench: Bench) {
    let bench = bench.with_sale(9, 1).await;
    bench.commit(&[order(1, "a", 1), order(2, "b", 1), order(3, "c", 1), order(4, "d", 1)]).await;
    bench.pay(1, "p1").await;
    bench.store.cancel(id(2), &buyer("b")).await.unwrap();
    let under_way = bench.begin(3, "c").await;
    bench.pass_deadline().await;
    bench.commit(&[order(5, "e", 1)]).await;
    assert_eq!(bench.store.overdue(10).await.unwrap(), [id(4)]);
    let paying = bench.store.overdue_payments(10).await.unwrap();
    let paying: Vec<_> = paying.iter().map(|o| (o.order, o.reference.as_str())).collect();
    assert_eq!(paying, [(id(3), under_way.as_str())], "the provider is to be asked");
    bench.told().await;
    let all: Vec<_> = (1..=5).map(id).collect();
    assert_eq!(bench.store.expire(&all).await.unwrap(), 2);
    assert_eq!(bench.store.expire(&all).await.unwrap(), 0);
    assert_eq!(bench.taken().await, 2);
    let told = bench.told().await;
    assert_eq!((told.len(), told[0].0, told[0].1.len()), (1, EventKind::OrderExpired, 2), "one event");
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_lost_webhook_found_at_the_deadline_still_pays(bench: Bench) {
    let bench = bench.with_sale(1, 1).await;
    bench.commit(&[order(1, "a", 1)]).await;
    let reference = bench.begin(1, "a").await;
    bench.pass_deadline().await;
    let asked = Capture { provenance: Provenance::Asked, ..Bench::money(&reference, 1, 1) };
    assert_eq!(bench.store.record_capture(&asked).await.unwrap(), CaptureOutcome::Paid);
    assert_eq!(bench.store.expire(&[id(1)]).await.unwrap(), 0);
    assert_eq!(bench.pay(1, &reference).await, CaptureOutcome::Repeat, "the webhook comes after all");
    assert_eq!(bench.refunds(1).await, []);
    bench.assert_sound().await;
}
