//! Lies: what no store writes, and every audit must tell. One that never finds anything passes all other tests.

use domain::OrderStatus;

use super::bench::{Bench, id, order};
use crate::order_store::{CaptureOutcome, Refunded};

/// One way in which a ledger is wrong.
pub(in crate::order_store) struct Lie {
    /// What makes it so, in any engine.
    pub(in crate::order_store) statement: &'static str,
    /// The invariant that does not hold then.
    invariant: &'static str,
    /// What the finding says, and none of another check.
    says: &'static str,
}

const fn lie(invariant: &'static str, says: &'static str, statement: &'static str) -> Lie {
    Lie { statement, invariant, says }
}

/// At least one for every check of an audit.
pub(in crate::order_store) const LIES: [Lie; 17] = [
    lie("I1", "taken 10 of 9", "update allocations set taken = total + 1"),
    lie("I1", "counted taken 2, rows say 1", "update allocations set taken = taken + 1"),
    lie("I1", "counted taken 1, rows say 2", "update orders set quantity = 2 where status = 'paid'"),
    lie("I1", "rows say otherwise", "update allocations set paid = paid + 1"),
    lie("I1", "rows say otherwise", "update orders set status = 'expired' where status = 'refunded'"),
    lie("I4", "holds 1 of at most 0", "update allocations set per_user_limit = 0"),
    lie("I5", "its outcome is none", "update payments set outcome = null where outcome = 'applied'"),
    lie("I5", "its order cancelled", "update orders set status = 'cancelled' where status = 'paid'"),
    lie("I5", "its order unknown", "update payments set order_id = null where outcome = 'applied'"),
    lie("I5", "its outcome is refunded", "delete from refunds"),
    lie("I5", "its outcome is late", "update payments set outcome = 'late' where outcome = 'refunded'"),
    lie("I5", "0 payments applied", "delete from payments where outcome = 'applied'"),
    lie("I5", "2 payments applied", TWICE_PAID),
    lie("I5", "no such capture", "update refunds set amount_cents = amount_cents + 1"),
    lie("I5", "no such capture", "delete from payments where outcome = 'refunded'"),
    lie("I5", "paid an order of", "update payments set amount_cents = 1 where outcome = 'applied'"),
    lie("I5", "paid an order of", "update payments set currency = 'USD' where outcome = 'applied'"),
];

const TWICE_PAID: &str = "update payments set outcome = 'applied',
    order_id = (select id from orders where status = 'paid') where outcome = 'refunded'";

impl Bench {
    /// A sale with an order that is paid and one that was paid back: so far all of it is true.
    pub(in crate::order_store) async fn with_a_life(self) -> Self {
        let bench = self.with_sale(9, 2).await;
        bench.commit(&[order(1, "a", 1), order(2, "b", 1)]).await;
        assert_eq!(bench.pay(1, "p1").await, CaptureOutcome::Paid);
        assert_eq!(bench.pay(2, "p2").await, CaptureOutcome::Paid);
        assert_eq!(bench.store.refund_order(id(2)).await.unwrap(), Refunded::Done);
        assert_eq!((bench.status(1).await, bench.taken().await), (OrderStatus::Paid, 1));
        bench.assert_sound().await;
        bench
    }

    /// The lie stands in the ledger now.
    pub(in crate::order_store) async fn assert_tells(&self, lie: &Lie) {
        let findings = self.store.audit().await.unwrap();
        let is_told = findings.iter().any(|f| f.invariant == lie.invariant && f.detail.contains(lie.says));
        assert!(is_told, "{}: {findings:?}", lie.statement);
    }
}
