//! Whether every race had one winner, and every cent and unit its place. Pure.

use contract::api::{AdminOrder, Ledger};

use super::order::Race;
use crate::verdict::{Promise, Verdict};

/// A race and what became of its order.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// What was done.
    pub(super) race: Race,
    /// What the operator sees.
    pub(super) order: AdminOrder,
}

impl Outcome {
    fn status(&self) -> &str {
        self.order.order.status.as_str()
    }

    /// Payments captured.
    pub(super) fn captured(&self) -> usize {
        self.order.payments.iter().filter(|p| p.status == "captured").count()
    }

    /// Refunds of them.
    pub(super) fn refunded(&self) -> usize {
        self.order.refunds.len()
    }

    /// Paid keeps one capture; every other capture has exactly one refund, by its reference.
    fn money_has_its_place(&self) -> bool {
        let kept = usize::from(self.status() == "paid");
        let one_each = self.order.refunds.iter().all(|r| {
            self.order.refunds.iter().filter(|o| o.reference == r.reference).count() == 1
                && self.order.payments.iter().any(|p| p.reference == r.reference && p.status == "captured")
        });
        one_each && self.captured() == self.refunded() + kept
    }

    /// Whether nothing is under way: a final state, its money settled, refunds done.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.status(), "queued" | "pending_payment")
            && self.money_has_its_place()
            && self.captured() >= usize::try_from(self.race.captures).unwrap_or(0)
            && self.order.refunds.iter().all(|r| r.status == "done")
    }

    fn balance_cents(&self) -> i64 {
        let captured: i64 =
            self.order.payments.iter().filter(|p| p.status == "captured").map(|p| p.amount_cents).sum();
        let refunded: i64 = self.order.refunds.iter().map(|r| r.amount_cents).sum();
        let owed = if self.status() == "paid" { self.order.order.amount_cents } else { 0 };
        captured - refunded - owed
    }
}

/// A platform in trouble may turn some away; of one that turns most away nothing is proven.
fn is_nearly_all(some: usize, all: usize) -> bool {
    some > 0 && some * 10 >= all * 9
}

/// Judges the races against each other and the ledger.
///
/// Of a hundred races each kind of winner must win at least `winner_percent`, or the run proves nothing.
pub(super) fn judge(outcomes: &[Outcome], planned: u32, ledger: &Ledger, winner_percent: usize) -> Verdict {
    let count = |which: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|o| which(o)).count();
    let none = |promise: &str, offenders: usize| {
        Promise::new(promise, offenders == 0, format!("{offenders} of {} break it", outcomes.len()))
    };
    let (raced, planned) = (outcomes.len(), usize::try_from(planned).unwrap_or(usize::MAX));
    let unpaid = count(&|o| o.race.payment_refused);
    let mut promises = vec![
        Promise::new(
            "nearly all were raced",
            is_nearly_all(raced, planned),
            format!("{raced} of {planned} orders"),
        ),
        Promise::new(
            "nearly all payments could be started",
            is_nearly_all(raced.saturating_sub(unpaid), raced),
            format!("{unpaid} could not"),
        ),
    ];
    for winner in ["paid", "cancelled", "expired"] {
        let wins = count(&|o| o.status() == winner);
        let enough = wins * 100 >= outcomes.len() * winner_percent && wins > 0;
        let name = format!("{winner} wins at least {winner_percent} %");
        promises.push(Promise::new(&name, enough, format!("{wins} of {}", outcomes.len())));
    }
    let late = count(&|o| o.race.paid_late && o.captured() > 0);
    promises.push(Promise::new("late captures happened", late > 0, format!("{late}")));
    promises.push(none("every order came to its end", count(&|o| !o.is_settled())));
    promises.push(none("a capture is a paid order or one refund", count(&|o| !o.money_has_its_place())));
    promises.push(none(
        "every webhook is recorded",
        count(&|o| o.race.webhook_refused || o.captured() != usize::try_from(o.race.captures).unwrap_or(0)),
    ));
    promises.push(none(
        "a confirmed cancel stays cancelled",
        count(&|o| o.race.cancelled && o.status() != "cancelled"),
    ));
    let balance: i64 = outcomes.iter().map(Outcome::balance_cents).sum();
    promises.push(Promise::new("money balances to zero", balance == 0, format!("{balance} cents")));
    promises.push(stock(outcomes, ledger));
    Verdict { promises }
}

/// That tickets of cancelled orders were sent again at all: what they must not do, the stock tells. An answer
/// may still be "queued" where the stock store has not heard of the order yet.
pub(super) fn clicked_again(outcomes: &[Outcome]) -> Promise {
    let sum = |which: fn(&Race) -> u32| outcomes.iter().map(|o| which(&o.race)).sum::<u32>();
    let (again, cancelled) = (sum(|race| race.clicks_again), sum(|race| race.told_cancelled));
    let detail = format!("{again} sent again, {cancelled} of them told of the cancel");
    Promise::new("tickets of cancelled orders were sent again", again > 0, detail)
}

fn stock(outcomes: &[Outcome], ledger: &Ledger) -> Promise {
    let live: u32 = outcomes.iter().filter(|o| o.status() == "paid").map(|o| o.order.order.quantity).sum();
    let stock = ledger.stock_store.unwrap_or_default();
    let taken = ledger.order_store.taken;
    let held = taken == live
        && stock.settled == taken
        && stock.reserved == 0
        && stock.free + taken == ledger.total
        && ledger.queued == 0
        && ledger.consistent;
    let detail = format!(
        "paid units {live}, taken {taken}, settled {}, free {} of {}",
        stock.settled, stock.free, ledger.total
    );
    Promise::new("stock is exact in both stores", held, detail)
}

#[cfg(test)]
mod tests {
    use contract::api::{OrderCounts, StockCounts};
    use serde_json::{Value, json};

    use super::*;

    fn outcome(status: &str, captured: usize, refunds: usize) -> Outcome {
        let payment = |n| {
            json!({"reference": format!("r{n}"), "status": "captured", "amount_cents": 5,
                                 "currency": "EUR", "created_at": 1})
        };
        let refund = |n| {
            json!({"reference": format!("r{n}"), "reason": "late", "status": "done",
                                "amount_cents": 5, "currency": "EUR", "created_at": 1})
        };
        let order = json!({
            "order_id": "018f0000-0000-7000-8000-000000000000", "sale": "s", "quantity": 1, "amount_cents": 5,
            "currency": "EUR", "status": status, "created_at": 1, "pay_by": 2, "buyer": "b", "reason": null,
            "payments": (0..captured).map(payment).collect::<Vec<Value>>(),
            "refunds": (0..refunds).map(refund).collect::<Vec<Value>>(),
        });
        let captures = u32::try_from(captured).unwrap();
        let race = Race { captures, paid_late: captured > 0, ..Race::default() };
        Outcome { race, order: serde_json::from_value(order).unwrap() }
    }

    fn broken(lie: impl FnOnce(&mut Vec<Outcome>, &mut Ledger)) -> Vec<String> {
        let mut outcomes = vec![outcome("paid", 1, 0), outcome("cancelled", 1, 1), outcome("expired", 0, 0)];
        let mut ledger = Ledger {
            total: 3,
            epoch: 1,
            stock_store: Some(StockCounts { free: 2, reserved: 0, settled: 1 }),
            order_store: OrderCounts { taken: 1, ..OrderCounts::default() },
            queued: 0,
            consistent: true,
        };
        lie(&mut outcomes, &mut ledger);
        let planned = u32::try_from(outcomes.len()).unwrap();
        let verdict = judge(&outcomes, planned, &ledger, 20);
        verdict.promises.into_iter().filter(|p| !p.held).map(|p| p.promise).collect()
    }

    #[test]
    fn honest_races_pass() {
        assert_eq!(broken(|_, _| ()), Vec::<String>::new());
    }

    #[test]
    fn every_lie_about_money_is_seen() {
        let money = "a capture is a paid order or one refund".to_owned();
        let kept = broken(|o, _| o[2] = outcome("expired", 1, 0));
        assert!(kept.contains(&money) && kept.contains(&"money balances to zero".to_owned()), "{kept:?}");
        assert!(broken(|o, _| o[1] = outcome("cancelled", 1, 2)).contains(&money), "refunded twice");
        assert!(broken(|o, _| o[0] = outcome("paid", 1, 1)).contains(&money), "paid and refunded");
        let forgotten = broken(|o, _| o[2].race.captures = 1);
        assert!(forgotten.contains(&"every webhook is recorded".to_owned()), "{forgotten:?}");
    }

    #[test]
    fn a_winner_that_never_wins_proves_nothing() {
        let lopsided = broken(|o, _| o[2] = outcome("cancelled", 0, 0));
        assert_eq!(lopsided, ["expired wins at least 20 %"]);
    }

    #[test]
    fn an_undone_cancel_and_a_unit_astray_are_seen() {
        assert_eq!(broken(|o, _| o[0].race.cancelled = true), ["a confirmed cancel stays cancelled"]);
        assert_eq!(broken(|_, l| l.order_store.taken = 2), ["stock is exact in both stores"]);
        assert!(!broken(|o, _| o[2] = outcome("pending_payment", 0, 0)).is_empty());
    }
}
