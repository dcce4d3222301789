//! What is offered, and when it may be bought.

use std::fmt;
use std::str::FromStr;

use crate::{Money, UnixMillis};

/// Longest title in bytes.
const TITLE_LEN_MAX: usize = 200;
/// Largest stock of one sale, in units.
const STOCK_MAX: u32 = 10_000_000;
/// Longest time to pay, in seconds (a week).
const PAY_WITHIN_S_MAX: u32 = 7 * 24 * 3600;

/// What an operator decides about a sale; fixed but for title and times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaleTerms {
    /// Shown to buyers.
    pub title: String,
    /// Price of one unit.
    pub price: Money,
    /// Units offered in all, restocks included.
    pub stock: u32,
    /// Live units one buyer may hold.
    pub per_user_limit: u32,
    /// First moment of selling.
    pub opens_at: UnixMillis,
    /// First moment after selling.
    pub ends_at: UnixMillis,
    /// How long an order may stay unpaid, in seconds.
    pub pay_within_s: u32,
}

/// Why terms cannot be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// Blank, too long, or with control characters: no page shows them, and Postgres does not take a NUL.
    #[error("title must have 1 to {TITLE_LEN_MAX} bytes, not be blank, and have no control characters")]
    Title,
    /// Negative, or what the largest stock would cost does not fit.
    #[error("price_cents must be 0 or more, and {STOCK_MAX} units of it must fit in 63 bits")]
    Price,
    /// No stock, or too much.
    #[error("stock must be 1 to {STOCK_MAX} units")]
    Stock,
    /// A limit of zero, or above the largest stock.
    #[error("per_user_limit must be 1 to {STOCK_MAX}")]
    Limit,
    /// The sale would end before it opens.
    #[error("ends_at must be later than opens_at, and both must be 0 or more")]
    Window,
    /// No time to pay, or too long.
    #[error("pay_within_s must be 1 to {PAY_WITHIN_S_MAX}")]
    PayWithin,
}

impl SaleTerms {
    /// Checks every term.
    ///
    /// # Errors
    /// The first term that cannot be offered.
    pub fn check(&self) -> Result<(), TermsError> {
        if self.title.trim().is_empty() || self.title.len() > TITLE_LEN_MAX {
            return Err(TermsError::Title);
        }
        if self.title.contains(char::is_control) {
            return Err(TermsError::Title);
        }
        if !(1..=STOCK_MAX).contains(&self.stock) {
            return Err(TermsError::Stock);
        }
        if self.price.cents < 0 || self.price.times(STOCK_MAX).is_err() {
            return Err(TermsError::Price);
        }
        if !(1..=STOCK_MAX).contains(&self.per_user_limit) {
            return Err(TermsError::Limit);
        }
        if self.opens_at.0 < 0 || self.ends_at <= self.opens_at {
            return Err(TermsError::Window);
        }
        if !(1..=PAY_WITHIN_S_MAX).contains(&self.pay_within_s) {
            return Err(TermsError::PayWithin);
        }
        Ok(())
    }

    /// The total after adding `quantity` units.
    ///
    /// # Errors
    /// [`TermsError::Stock`] if the sale would offer too much.
    pub fn restocked(total: u32, quantity: u32) -> Result<u32, TermsError> {
        total.checked_add(quantity).filter(|t| *t <= STOCK_MAX && quantity >= 1).ok_or(TermsError::Stock)
    }
}

/// What the operator has done to a sale since it was announced.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Phase {
    /// Sells within its window.
    #[default]
    Active,
    /// Held by the operator; resumes.
    Paused,
    /// Ended by the operator before its time; final.
    Ended,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 3] = [Self::Active, Self::Paused, Self::Ended];

    /// The contract's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

/// A word that is no phase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown phase {0:?}")]
pub struct UnknownPhase(pub String);

impl FromStr for Phase {
    type Err = UnknownPhase;
    fn from_str(text: &str) -> Result<Self, UnknownPhase> {
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or_else(|| UnknownPhase(text.into()))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a buyer sees of a sale at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SaleState {
    /// Not open yet.
    Upcoming,
    /// Selling.
    Open,
    /// Held by the operator.
    Paused,
    /// No unit is free now; one may come back.
    SoldOut,
    /// Over.
    Ended,
}

/// What a sale's state follows from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateInputs {
    /// What the operator did.
    pub phase: Phase,
    /// First moment of selling.
    pub opens_at: UnixMillis,
    /// First moment after selling.
    pub ends_at: UnixMillis,
    /// Units free now.
    pub free: u32,
}

impl StateInputs {
    /// The state at `now`, by the stock store's clock.
    #[must_use]
    pub fn at(&self, now: UnixMillis) -> SaleState {
        if self.phase == Phase::Ended || now >= self.ends_at {
            SaleState::Ended
        } else if now < self.opens_at {
            SaleState::Upcoming
        } else if self.phase == Phase::Paused {
            SaleState::Paused
        } else if self.free == 0 {
            SaleState::SoldOut
        } else {
            SaleState::Open
        }
    }
}

impl SaleState {
    /// The contract's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upcoming => "upcoming",
            Self::Open => "open",
            Self::Paused => "paused",
            Self::SoldOut => "sold_out",
            Self::Ended => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> StateInputs {
        StateInputs { phase: Phase::Active, opens_at: UnixMillis(10), ends_at: UnixMillis(20), free: 1 }
    }

    #[test]
    fn a_title_can_be_shown_and_stored() {
        let checked = |title: &str| {
            let price = Money { cents: 1_000, currency: "EUR".parse().unwrap() };
            let (opens_at, ends_at) = (UnixMillis(10), UnixMillis(20));
            let title = title.to_owned();
            SaleTerms { title, price, stock: 1, per_user_limit: 1, opens_at, ends_at, pay_within_s: 1 }
                .check()
        };
        let longest = "a".repeat(TITLE_LEN_MAX);
        for title in ["a", "A lamp, d\u{e9}j\u{e0} vu \u{1f4a1}", longest.as_str()] {
            assert_eq!(checked(title), Ok(()), "{title:?}");
        }
        let longer = "a".repeat(TITLE_LEN_MAX + 1);
        for title in ["", " ", longer.as_str(), "a\0", "\0", "a\tb", "a\nb", "\u{1b}[2J", "a\u{7f}"] {
            assert_eq!(checked(title), Err(TermsError::Title), "{title:?}");
        }
    }

    #[test]
    fn the_window_is_half_open() {
        let s = inputs();
        assert_eq!(s.at(UnixMillis(9)), SaleState::Upcoming);
        assert_eq!(s.at(UnixMillis(10)), SaleState::Open);
        assert_eq!(s.at(UnixMillis(19)), SaleState::Open);
        assert_eq!(s.at(UnixMillis(20)), SaleState::Ended);
    }

    #[test]
    fn the_operator_outranks_the_stock_and_the_end_outranks_all() {
        let paused = StateInputs { phase: Phase::Paused, free: 0, ..inputs() };
        assert_eq!(paused.at(UnixMillis(15)), SaleState::Paused);
        assert_eq!(paused.at(UnixMillis(25)), SaleState::Ended);
        let ended = StateInputs { phase: Phase::Ended, ..inputs() };
        assert_eq!(ended.at(UnixMillis(5)), SaleState::Ended);
        assert_eq!(StateInputs { free: 0, ..inputs() }.at(UnixMillis(15)), SaleState::SoldOut);
    }
}
