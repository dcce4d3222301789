//! Payments and refunds.

use domain::OrderStatus;

use super::bench::{Bench, PRICE, buyer, id, order};
use crate::order_store::{
    Capture, CaptureOutcome, PaymentBegun, PaymentFailure, Provenance, Refunded, UnreportedFate, rules,
};

fn failure(event: &str, reference: &str, n: u32) -> PaymentFailure {
    PaymentFailure {
        event_id: event.into(),
        reference: reference.into(),
        order: id(n).to_string(),
        amount_cents: PRICE,
        currency: "EUR".into(),
    }
}

pub(in crate::order_store) async fn a_payment_under_way_is_found_again_and_a_failed_one_replaced(
    bench: Bench,
) {
    let bench = bench.with_sale(9, 2).await;
    bench.commit(&[order(1, "a", 1)]).await;
    let first = bench.begin(1, "a").await;
    assert_eq!(bench.begin(1, "a").await, first);
    let foreign = bench.store.begin_payment(id(1), &buyer("b")).await.unwrap();
    assert_eq!(foreign, PaymentBegun::NotFound, "another buyer's order");
    bench.store.record_failure(&failure("e1", &first, 1)).await.unwrap();
    bench.store.record_failure(&failure("e1", &first, 1)).await.unwrap();
    let second = bench.begin(1, "a").await;
    assert_ne!(second, first);
    assert_eq!(bench.pay(1, &second).await, CaptureOutcome::Paid);
    let paid = bench.store.begin_payment(id(1), &buyer("a")).await.unwrap();
    assert_eq!(paid, PaymentBegun::NotPayable(OrderStatus::Paid));
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_capture_pays_once_and_repeats_change_nothing(bench: Bench) {
    let bench = bench.with_sale(9, 2).await;
    bench.commit(&[order(1, "a", 1)]).await;
    let reference = bench.begin(1, "a").await;
    assert_eq!(bench.pay(1, &reference).await, CaptureOutcome::Paid);
    bench.told().await;
    assert_eq!(bench.pay(1, &reference).await, CaptureOutcome::Repeat, "the same event");
    let told_anew = Capture {
        provenance: Provenance::Webhook { event_id: "another".into() },
        ..Bench::money(&reference, 1, 1)
    };
    let outcome = bench.store.record_capture(&told_anew).await.unwrap();
    assert_eq!(outcome, CaptureOutcome::Repeat, "the same capture, told by another event");
    bench.store.record_failure(&failure("late-failure", &reference, 1)).await.unwrap();
    assert_eq!(bench.status(1).await, OrderStatus::Paid);
    assert_eq!((bench.refunds(1).await.len(), bench.told().await.len()), (0, 0));
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn wrong_money_is_paid_back_and_never_pays(bench: Bench) {
    let bench = bench.with_sale(9, 2).await;
    bench.commit(&[order(1, "a", 1), order(2, "b", 1)]).await;
    let too_little = Capture { amount_cents: PRICE - 1, ..Bench::money("p1", 1, 1) };
    let other_currency = Capture { currency: "USD".into(), ..Bench::money("p2", 1, 1) };
    for wrong in [too_little, other_currency] {
        let outcome = bench.store.record_capture(&wrong).await.unwrap();
        assert_eq!(outcome, CaptureOutcome::Refunded("wrong_amount"));
    }
    let of_another = bench.begin(2, "b").await;
    assert_eq!(bench.pay(1, &of_another).await, CaptureOutcome::Refunded("wrong_order"));
    assert_eq!(bench.status(1).await, OrderStatus::PendingPayment);
    assert_eq!(bench.status(2).await, OrderStatus::PendingPayment);
    let cents: Vec<i64> = bench.refunds(1).await.iter().map(|r| r.amount_cents).collect();
    assert_eq!(cents, [PRICE - 1, PRICE], "what was captured goes back");
    assert_eq!(bench.pay(1, "p3").await, CaptureOutcome::Paid, "and the order is still payable");
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn money_for_nobody_and_second_captures_are_paid_back(bench: Bench) {
    let bench = bench.with_sale(1, 1).await;
    bench.commit(&[order(1, "a", 1), order(2, "b", 1)]).await;
    assert_eq!(bench.pay(77, "p0").await, CaptureOutcome::Refunded("unknown_order"));
    let no_id = Capture { order: "what?".into(), ..Bench::money("p00", 1, 1) };
    let outcome = bench.store.record_capture(&no_id).await.unwrap();
    assert_eq!(outcome, CaptureOutcome::Refunded("unknown_order"));
    assert_eq!(bench.pay(2, "p1").await, CaptureOutcome::Refunded("not_payable"), "rejected");
    assert_eq!(bench.pay(1, "p2").await, CaptureOutcome::Paid);
    assert_eq!(bench.pay(1, "p3").await, CaptureOutcome::Refunded("second_capture"));
    assert_eq!(bench.status(1).await, OrderStatus::Paid);
    assert_eq!(bench.store.refund_work(10).await.unwrap().len(), 4);
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_refund_happens_once_and_gives_the_units_back(bench: Bench) {
    let bench = bench.with_sale(1, 1).await;
    bench.commit(&[order(1, "a", 1)]).await;
    let unpaid = bench.store.refund_order(id(1)).await.unwrap();
    assert_eq!(unpaid, Refunded::NotRefundable(OrderStatus::PendingPayment));
    assert_eq!(bench.store.refund_order(id(9)).await.unwrap(), Refunded::NotFound);
    bench.pay(1, "p1").await;
    assert_eq!(bench.store.refund_order(id(1)).await.unwrap(), Refunded::Done);
    let twice = bench.store.refund_order(id(1)).await.unwrap();
    assert_eq!(twice, Refunded::NotRefundable(OrderStatus::Refunded));
    assert_eq!((bench.taken().await, bench.refunds(1).await.len()), (0, 1));
    bench.commit(&[order(2, "b", 1)]).await;
    assert_eq!(bench.status(2).await, OrderStatus::PendingPayment, "the unit sells again");
    assert_eq!(bench.pay(1, "p2").await, CaptureOutcome::Refunded("not_payable"));
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn refund_work_is_due_until_done(bench: Bench) {
    let bench = bench.with_sale(1, 1).await;
    bench.pay(9, "p1").await;
    let work = bench.store.refund_work(10).await.unwrap();
    assert_eq!((work[0].reference.as_str(), work[0].amount_cents, work[0].attempts), ("p1", PRICE, 0));
    bench.store.defer_refund("p1", 1000).await.unwrap();
    assert_eq!(bench.store.refund_work(10).await.unwrap(), []);
    bench.pass(1000).await;
    assert_eq!(bench.store.refund_work(10).await.unwrap()[0].attempts, 1);
    bench.store.refund_done("p1").await.unwrap();
    bench.pass(100_000).await;
    assert_eq!(bench.store.refund_work(10).await.unwrap(), []);
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn other_money_under_a_known_reference_is_another_capture(bench: Bench) {
    let bench = bench.with_sale(9, 2).await;
    bench.commit(&[order(1, "a", 1)]).await;
    let reference = bench.begin(1, "a").await;
    let told = |event: &str, amount_cents| Capture {
        provenance: Provenance::Webhook { event_id: event.into() },
        amount_cents,
        ..Bench::money(&reference, 1, 1)
    };
    let record = async |event: &str, cents| bench.store.record_capture(&told(event, cents)).await.unwrap();
    assert_eq!(record("e1", PRICE - 1).await, CaptureOutcome::Refunded("wrong_amount"));
    assert_eq!(record("e2", PRICE - 1).await, CaptureOutcome::Repeat, "the same money, told again");
    assert_eq!(record("e3", PRICE).await, CaptureOutcome::Paid, "the right money pays all the same");
    assert_eq!(record("e4", PRICE).await, CaptureOutcome::Repeat);
    assert_eq!(record("e5", PRICE + 1).await, CaptureOutcome::Refunded("wrong_amount"));
    let back = bench.store.refund_work(10).await.unwrap();
    let mut back: Vec<_> = back.into_iter().map(|r| (r.charge, r.amount_cents)).collect();
    back.sort();
    assert_eq!(
        back,
        [(reference.clone(), PRICE - 1), (reference.clone(), PRICE + 1)],
        "of the charge it was"
    );
    assert_eq!(bench.status(1).await, OrderStatus::Paid);
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_payment_nobody_told_the_end_of_is_asked_about_until_it_is_known(
    bench: Bench,
) {
    let bench = bench.with_sale(9, 2).await;
    bench.commit(&[order(1, "a", 1), order(2, "b", 1), order(3, "c", 1)]).await;
    let cancelled = bench.begin(1, "a").await;
    let failed = bench.begin(2, "b").await;
    bench.begin(3, "c").await;
    bench.store.cancel(id(1), &buyer("a")).await.unwrap();
    bench.store.cancel(id(2), &buyer("b")).await.unwrap();
    let due = async || {
        let mut due: Vec<_> = bench.store.unreported(10).await.unwrap();
        due.sort_by(|a, b| a.reference.cmp(&b.reference));
        due.into_iter().map(|u| (u.reference, u.order, u.asks)).collect::<Vec<_>>()
    };
    assert_eq!(due().await, [], "their webhooks may still come");
    bench.pass(rules::UNREPORTED_AFTER_MS).await;
    let mut both = vec![(cancelled.clone(), id(1), 0), (failed.clone(), id(2), 0)];
    both.sort();
    assert_eq!(due().await, both, "who cancelled does not wait for money until the time to pay is over");
    bench.pass_deadline().await;
    assert_eq!(due().await, both, "the third can still be asked about by the timeout job");
    bench.store.decide_unreported(&failed, UnreportedFate::Failed).await.unwrap();
    bench.store.decide_unreported(&cancelled, UnreportedFate::AskIn(1_000)).await.unwrap();
    assert_eq!(due().await, []);
    bench.pass(1_000).await;
    assert_eq!(due().await, [(cancelled.clone(), id(1), 1)]);
    let found = Capture { provenance: Provenance::Asked, ..Bench::money(&cancelled, 1, 1) };
    let outcome = bench.store.record_capture(&found).await.unwrap();
    assert_eq!(outcome, CaptureOutcome::Refunded("not_payable"), "nobody's money is kept");
    bench.store.expire(&[id(3)]).await.unwrap();
    let [(third, ..)] = &due().await[..] else { panic!("the third, once it has expired") };
    bench.store.decide_unreported(third, UnreportedFate::GiveUp).await.unwrap();
    bench.pass(1_000_000_000).await;
    assert_eq!(due().await, []);
    bench.assert_sound().await;
}

pub(in crate::order_store) async fn a_payment_that_was_asked_about_is_replaced_or_counts(bench: Bench) {
    let bench = bench.with_sale(9, 2).await;
    bench.commit(&[order(1, "a", 1)]).await;
    let who = buyer("a");
    let begin = async || bench.store.begin_payment(id(1), &who).await.unwrap();
    let PaymentBegun::Started(first) = begin().await else { panic!("nothing was under way") };
    assert_eq!(begin().await, PaymentBegun::UnderWay(first.clone()));
    let failed = async || {
        let decided = bench.store.decide_unreported(&first.reference, UnreportedFate::Failed).await;
        decided.unwrap();
    };
    failed().await;
    let PaymentBegun::Started(second) = begin().await else { panic!("the first one is over") };
    assert_ne!(second.reference, first.reference);
    failed().await;
    bench.store.record_failure(&failure("e1", &first.reference, 1)).await.unwrap();
    assert_eq!(begin().await, PaymentBegun::UnderWay(second.clone()), "what is told late of the first");
    let found = Capture { provenance: Provenance::Asked, ..Bench::money(&second.reference, 1, 1) };
    assert_eq!(bench.store.record_capture(&found).await.unwrap(), CaptureOutcome::Paid);
    assert_eq!(begin().await, PaymentBegun::NotPayable(OrderStatus::Paid));
    assert_eq!(bench.pay(1, &second.reference).await, CaptureOutcome::Repeat, "the webhook comes after all");
    let after_all = bench.pay(1, &first.reference).await;
    assert_eq!(after_all, CaptureOutcome::Refunded("second_capture"), "also what was called failed");
    bench.assert_sound().await;
}
