//! Who races for an order, and when they start.

use crate::random::Random;

/// Shares of a hundred orders: nobody acts, a payment, a cancel; the rest has both.
const NOBODY_PERCENT: u64 = 25;
const PAY_PERCENT: u64 = 35;
const CANCEL_PERCENT: u64 = 25;
/// Of a hundred payments, so many are reported twice.
const REPEAT_PERCENT: u8 = 10;

/// The plan of one race: milliseconds before (negative) or after the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    /// When the capture is reported.
    pub(super) pay_at_ms: Option<i64>,
    /// When the buyer cancels.
    pub(super) cancel_at_ms: Option<i64>,
    /// Whether the report comes twice.
    pub(super) repeat: bool,
}

impl Plan {
    /// Draws a race. More start before the deadline than after it, cancels more so: whoever is late
    /// never wins as a cancel, while a late payment still can.
    pub(super) fn draw(seed: u64, order: u64, jitter_ms: i64) -> Self {
        let mut chance = Random::of(seed, order);
        let pay = chance.between(-jitter_ms, jitter_ms * 2 / 3);
        let cancel = chance.between(-jitter_ms, jitter_ms / 5);
        let repeat = chance.percent(REPEAT_PERCENT);
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
        Self { pay_at_ms: pays.then_some(pay), cancel_at_ms: cancels.then_some(cancel), repeat }
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn a_thousand_plans_give_every_winner_its_chance() {
        let plans: Vec<Plan> = (0..1000).map(|n| Plan::draw(1, n, 400)).collect();
        let count = |which: fn(&&Plan) -> bool| plans.iter().filter(which).count();
        assert!(count(|p| p.pay_at_ms.is_none() && p.cancel_at_ms.is_none()) >= 200);
        assert!(count(|p| p.pay_at_ms.is_some_and(|at| at < 0)) >= 220);
        assert!(count(|p| p.pay_at_ms.is_some_and(|at| at > 0)) >= 100);
        assert!(count(|p| p.cancel_at_ms.is_some_and(|at| at < 0)) >= 220);
        assert!(count(|p| p.pay_at_ms.is_some() && p.cancel_at_ms.is_some()) >= 100);
    }
}
