//! What a sale asks of its crowd: kept by inventory, told to every gateway with the catalogue, and
//! changeable while the sale runs.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Largest count and window of a rate.
const RATE_MAX: u32 = 100_000_000;
/// Most leading zero bits a proof of work may ask for: minutes of a phone's work.
pub const PROOF_BITS_MAX: u8 = 26;
/// Most participants of one gateway's waiting room.
pub const ROOM_CAPACITY_MAX: u32 = 1_000_000;

/// A rate limit: this many requests in a burst, and as many per window after it. `N/SECONDS` in text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Requests.
    pub requests: NonZeroU32,
    /// Seconds.
    pub per_s: NonZeroU32,
}

/// Not a rate limit's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither N/SECONDS nor off")]
pub struct RateError;

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let part = |text: &str| -> Option<NonZeroU32> {
            text.trim().parse().ok().filter(|n: &NonZeroU32| n.get() <= RATE_MAX)
        };
        let rate = text.split_once('/').and_then(|(n, s)| Some(Self { requests: part(n)?, per_s: part(s)? }));
        rate.ok_or(RateError)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.per_s)
    }
}

/// A limit that may also be none: `N/SECONDS` or `off`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaybeRate(pub Option<Rate>);

impl FromStr for MaybeRate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        if text == "off" { Ok(Self(None)) } else { text.parse().map(|rate| Self(Some(rate))) }
    }
}

impl fmt::Display for MaybeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) => rate.fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// A sale's rules. What is absent is as the gateway's settings say, or not asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaleRules {
    /// Purchase requests per buyer of this sale (`N/SECONDS` or `off`).
    #[serde(default, with = "crate::text::option", skip_serializing_if = "Option::is_none")]
    pub buyer_limit: Option<MaybeRate>,
    /// Purchase requests of this sale (`N/SECONDS` or `off`).
    #[serde(default, with = "crate::text::option", skip_serializing_if = "Option::is_none")]
    pub sale_limit: Option<MaybeRate>,
    /// Leading zero bits of the proof of work a ticket costs, before the crowd raises them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_bits: Option<u8>,
    /// Whether a ticket costs a captcha's answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub captcha: bool,
    /// Whether buyers are let in through a waiting room, and how fast.
    #[serde(default, deserialize_with = "crate::object::option", skip_serializing_if = "Option::is_none")]
    pub waiting_room: Option<RoomRules>,
}

/// A waiting room's rules; both numbers are per gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomRules {
    /// Participants at most.
    pub capacity: u32,
    /// Buyers let in per second.
    pub admit_per_s: u32,
}

/// Why rules are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// More work than people's machines can do.
    #[error("proof_bits must be 1 to {PROOF_BITS_MAX}")]
    ProofBits,
    /// A room nobody can pass, or one that takes too much memory.
    #[error("waiting_room needs a capacity of 1 to {ROOM_CAPACITY_MAX} and admit_per_s of 1 or more")]
    Room,
}

impl SaleRules {
    /// Checks that the rules can be kept.
    ///
    /// # Errors
    /// The first one that cannot.
    pub fn check(&self) -> Result<(), RulesError> {
        if self.proof_bits.is_some_and(|bits| !(1..=PROOF_BITS_MAX).contains(&bits)) {
            return Err(RulesError::ProofBits);
        }
        let fits = |room: RoomRules| {
            (1..=ROOM_CAPACITY_MAX).contains(&room.capacity)
                && (1..=ROOM_CAPACITY_MAX).contains(&room.admit_per_s)
        };
        if self.waiting_room.is_some_and(|room| !fits(room)) {
            return Err(RulesError::Room);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_say_what_was_written_and_nothing_else() {
        let text = r#"{"buyer_limit":"5/1","sale_limit":"off","proof_bits":12,"captcha":true,"waiting_room":{"capacity":10,"admit_per_s":2}}"#;
        let rules: SaleRules = serde_json::from_str(text).unwrap();
        assert_eq!(rules.sale_limit, Some(MaybeRate(None)));
        assert_eq!(serde_json::to_string(&rules).unwrap(), text);
        assert_eq!(serde_json::to_string(&SaleRules::default()).unwrap(), "{}");
        for bad in [r#"{"buyer_limit":"5"}"#, r#"{"buyer_limit":"0/1"}"#, r#"{"limit":"5/1"}"#] {
            assert!(serde_json::from_str::<SaleRules>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rules_that_cannot_be_kept_are_refused() {
        let room = |capacity, admit_per_s| SaleRules {
            waiting_room: Some(RoomRules { capacity, admit_per_s }),
            ..SaleRules::default()
        };
        assert_eq!(room(1, 1).check(), Ok(()));
        for bad in [room(0, 1), room(1, 0), room(ROOM_CAPACITY_MAX + 1, 1)] {
            assert_eq!(bad.check(), Err(RulesError::Room));
        }
        for bits in [0, PROOF_BITS_MAX + 1] {
            let rules = SaleRules { proof_bits: Some(bits), ..SaleRules::default() };
            assert_eq!(rules.check(), Err(RulesError::ProofBits));
        }
    }
}
