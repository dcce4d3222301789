//! The decision cache: for a moment, the same request of the same buyer gets the same refusal.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use domain::{BuyerId, OrderId};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::answer::Refusal;
use crate::sale::Sale;

/// Decisions remembered at most; a newer one takes an older one's place.
const DECISIONS_MAX: usize = 8192;
/// How long one is remembered.
const DECISION_MS: u64 = 250;

/// The decision cache. Holds what the stock store refused; never a ticket, a 202 or a 503.
pub struct Decisions {
    slots: Box<[Mutex<Option<Decision>>]>,
    hasher: RandomState,
}

struct Decision {
    key: u64,
    at: Instant,
    refusal: Refusal,
}

/// Names one buyer's request in one state of its sale.
#[derive(Clone, Copy)]
pub struct Question(u64);

impl Default for Decisions {
    fn default() -> Self {
        let slots = (0..DECISIONS_MAX).map(|_| Mutex::default()).collect();
        Self { slots, hasher: RandomState::new() }
    }
}

impl Decisions {
    /// The name of this request. The sale's generation is part of it, so that whatever makes the sale
    /// sell again forgets its refusals.
    pub fn question(&self, sale: &Sale, buyer: &BuyerId, order: OrderId, quantity: i64) -> Question {
        Question(self.hasher.hash_one((sale.slot, sale.generation(), buyer, order, quantity)))
    }

    /// The refusal this question got a moment ago.
    pub fn recall(&self, question: Question) -> Option<Refusal> {
        let slot = self.slot(question).lock();
        let decision = slot.as_ref().filter(|d| d.key == question.0)?;
        let is_young = decision.at.elapsed() < Duration::from_millis(DECISION_MS);
        is_young.then(|| {
            metrics::counter!("gateway_decisions_repeated_total").increment(1);
            decision.refusal
        })
    }

    /// Remembers a refusal, if it is one that only the stock store could give.
    pub fn remember(&self, question: Question, refusal: Refusal) {
        if refusal.is_the_stores() {
            *self.slot(question).lock() = Some(Decision { key: question.0, at: Instant::now(), refusal });
        }
    }

    fn slot(&self, question: Question) -> &Mutex<Option<Decision>> {
        let [a, b, ..] = question.0.to_le_bytes();
        &self.slots[usize::from(u16::from_le_bytes([a, b])) % DECISIONS_MAX]
    }
}
