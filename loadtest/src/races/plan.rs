//! Who races for an order, and when they start.

use contract::api::WebhookKind;

use crate::random::Random;

/// Shares of a hundred orders: nobody acts, a payment, a cancel; the rest has both. Cancels are most, for they have to be
/// in time, and on a busy machine fewer are.
const NOBODY_PERCENT: u64 = 22;
const PAY_PERCENT: u64 = 30;
const CANCEL_PERCENT: u64 = 33;
/// Of a hundred payments, so many are reported twice.
const REPEAT_PERCENT: u8 = 10;
/// Among so many reports of a capture, one of a failure.
const COPIES_PER_FAILURE: u32 = 3;

/// The plan of one race: milliseconds before (negative) or after the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    /// When the capture is reported.
    pub(super) pay_at_ms: Option<i64>,
    /// When the buyer cancels.
    pub(super) cancel_at_ms: Option<i64>,
    /// How often the capture is reported.
    pub(super) copies: u32,
    /// Decides the order of the reports.
    chance: u64,
}

/// What a provider says about a payment, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Report {
    /// Captured, or failed before it was.
    pub(super) kind: WebhookKind,
    /// Milliseconds after the capture.
    pub(super) after_ms: i64,
}

impl Plan {
    /// Draws a race. More start before the deadline than after it, cancels more so: whoever is late
    /// never wins as a cancel, while a late payment still can.
    pub(super) fn draw(seed: u64, order: u64, jitter_ms: i64, copies: Option<u32>) -> Self {
        let mut chance = Random::of(seed, order);
        let pay = chance.between(-jitter_ms, jitter_ms * 2 / 3);
        let cancel = chance.between(-jitter_ms, jitter_ms / 5);
        let copies = copies.unwrap_or(1 + u32::from(chance.percent(REPEAT_PERCENT)));
        let draw = chance.below(100);
        let (pays, cancels) = if draw < NOBODY_PERCENT {
            (false, false)
        } else if draw < NOBODY_PERCENT + PAY_PERCENT {
            (true, false)
        } else if draw < NOBODY_PERCENT + PAY_PERCENT + CANCEL_PERCENT {
            (false, true)
        } else {
            (true, true)
        };
        let chance = chance.next();
        Self { pay_at_ms: pays.then_some(pay), cancel_at_ms: cancels.then_some(cancel), copies, chance }
    }

    /// The reports of the capture, one of them at its moment and the others up to `spread_ms` later; with many
    /// copies also of a failure that came before it, and is heard in between.
    pub(super) fn reports(&self, spread_ms: i64) -> Vec<Report> {
        let mut chance = Random::of(self.chance, 0);
        let mut later = |kind| Report { kind, after_ms: chance.between(0, spread_ms) };
        let mut reports = vec![Report { kind: WebhookKind::Succeeded, after_ms: 0 }];
        reports.extend((1..self.copies).map(|_| later(WebhookKind::Succeeded)));
        reports.extend((0..self.copies / COPIES_PER_FAILURE).map(|_| later(WebhookKind::Failed)));
        reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_plans_give_every_winner_its_chance() {
        let plans: Vec<Plan> = (0..1000).map(|n| Plan::draw(1, n, 400, None)).collect();
        let count = |which: fn(&&Plan) -> bool| plans.iter().filter(which).count();
        assert!(count(|p| p.pay_at_ms.is_none() && p.cancel_at_ms.is_none()) >= 200);
        assert!(count(|p| p.pay_at_ms.is_some_and(|at| at < 0)) >= 220);
        assert!(count(|p| p.pay_at_ms.is_some_and(|at| at > 0)) >= 100);
        assert!(count(|p| p.cancel_at_ms.is_some_and(|at| at < 0)) >= 220);
        assert!(count(|p| p.pay_at_ms.is_some() && p.cancel_at_ms.is_some()) >= 100);
    }

    #[test]
    fn ten_copies_come_with_failures_among_them() {
        let plan = Plan::draw(1, 7, 400, Some(10));
        let reports = plan.reports(400);
        let failures = reports.iter().filter(|r| r.kind == WebhookKind::Failed).count();
        assert_eq!((reports.len(), failures), (13, 3));
        assert_eq!(reports, plan.reports(400), "the seed decides");
        assert!(reports.iter().all(|r| (0..=400).contains(&r.after_ms)));
    }
}
