//! Proof of work and captcha: a challenge, bound to its buyer, its sale and this gateway, good once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract::Code;
use contract::api::{Proof, ProofWanted};
use contract::rules::{PROOF_BITS_MAX, SaleRules};
use domain::{BuyerId, UnixMillis};
use hmac::{Hmac, KeyInit, Mac};
use metrics::{Counter, counter};
use parking_lot::Mutex;
use service_kit::http::ApiError;
use sha2::{Digest, Sha256};

use super::Captcha;
use crate::purchase::{Answer, Caller, Refusal};
use crate::sale::Sale;

/// How long a challenge may be worked on.
const CHALLENGE_MS: i64 = 120_000;
/// A clock that went back by less was read out of turn, in milliseconds.
const SET_BACK_MS_MIN: i64 = 10_000;
/// Challenges answered within that time that are remembered, at most; beyond it no more are taken.
const SPENT_MAX: usize = 500_000;
/// Ticket requests per second of one sale that a proof's bits are meant for; every doubling adds one.
const CALM_PER_S: u32 = 500;
/// Bits the crowd adds at most.
const EXTRA_BITS_MAX: u8 = 6;
/// Longest solution in bytes.
const SOLUTION_LEN_MAX: usize = 32;

const NONCE_LEN: usize = 16;
const MAC_LEN: usize = 32;
const CHALLENGE_LEN: usize = NONCE_LEN + 8 + 1 + MAC_LEN;

/// How many ask a sale for tickets.
#[derive(Default)]
pub(crate) struct Crowd {
    second: AtomicI64,
    this: AtomicU32,
    last: AtomicU32,
}

impl Crowd {
    /// One more asks; how many asked in the second before this one, or do already in this one.
    fn grows(&self, now: UnixMillis) -> u32 {
        let second = now.0 / 1000;
        if self.second.swap(second, Ordering::AcqRel) != second {
            self.last.store(self.this.swap(0, Ordering::AcqRel), Ordering::Release);
        }
        let this = self.this.fetch_add(1, Ordering::AcqRel) + 1;
        this.max(self.last.load(Ordering::Acquire))
    }
}

/// The bits a proof takes, for a crowd of this size.
fn bits_for(base: u8, per_s: u32) -> u8 {
    let doublings = (per_s / CALM_PER_S).checked_ilog2().map_or(0, |n| n + 1);
    let extra = u8::try_from(doublings).unwrap_or(EXTRA_BITS_MAX).min(EXTRA_BITS_MAX);
    (base + extra).min(PROOF_BITS_MAX)
}

/// Asks for proofs, and judges them. Keeps of a challenge only that it was answered.
pub(crate) struct Proofs {
    /// Drawn when the process starts: what it signed, only it believes, so that one answer counts once.
    key: Hmac<Sha256>,
    spent: Mutex<Spent>,
    captcha: Arc<dyn Captcha>,
    asked: Counter,
    passed: Counter,
}

/// Who asks for a ticket, for which sale by which rules, and when.
pub(super) struct Asker<'a> {
    pub(super) caller: &'a Caller<'a>,
    pub(super) sale: &'a Sale,
    pub(super) rules: &'a SaleRules,
    pub(super) buyer: &'a BuyerId,
    pub(super) now: UnixMillis,
}

/// A proof that holds, and is not spent yet.
pub(crate) struct Solved {
    nonce: [u8; NONCE_LEN],
    /// The crowd at that moment.
    per_s: u32,
}

/// Challenges answered, in two generations: the older one has ended when the younger becomes old.
#[derive(Default)]
struct Spent {
    young: HashSet<[u8; NONCE_LEN]>,
    old: HashSet<[u8; NONCE_LEN]>,
    since_ms: i64,
}

impl Spent {
    /// Whether this challenge was answered before.
    fn knows(&self, nonce: &[u8; NONCE_LEN]) -> bool {
        self.old.contains(nonce) || self.young.contains(nonce)
    }

    /// Whether this is the nonce's first time; `None` when no more can be remembered.
    fn first(&mut self, nonce: [u8; NONCE_LEN], now: UnixMillis) -> Option<bool> {
        // A clock set back must not keep generations for ever; somebody who read it a moment before another turned
        // the generations has not set it back.
        let since = now.0 - self.since_ms;
        if !(-SET_BACK_MS_MIN..CHALLENGE_MS).contains(&since) {
            let is_old_news = since >= 2 * CHALLENGE_MS;
            let before = std::mem::take(&mut self.young);
            self.old = if is_old_news { HashSet::new() } else { before };
            self.since_ms = now.0;
        }
        if self.young.len() >= SPENT_MAX {
            return None;
        }
        if self.knows(&nonce) {
            return Some(false);
        }
        self.young.insert(nonce);
        Some(true)
    }
}

impl Proofs {
    /// With this captcha.
    ///
    /// # Panics
    /// When the system has no randomness: nothing could be signed safely then.
    #[must_use]
    pub(crate) fn new(captcha: Arc<dyn Captcha>) -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the system has randomness");
        Self {
            key: Hmac::new_from_slice(&key).expect("HMAC takes keys of any length"),
            spent: Mutex::default(),
            captcha,
            asked: counter!("gateway_proofs_total", "outcome" => "asked"),
            passed: counter!("gateway_proofs_total", "outcome" => "passed"),
        }
    }

    /// Judges what somebody brings. A proof that holds stays unspent: its bringer may yet be refused for another reason,
    /// and shall not have worked in vain.
    ///
    /// # Errors
    /// 403 with a challenge.
    pub(super) async fn judge(&self, asker: &Asker<'_>, proof: Option<&Proof>) -> Result<Solved, Answer> {
        let per_s = asker.sale.crowd.grows(asker.now);
        let nonce = match proof {
            Some(proof) => self.is_solved(asker, proof).await,
            None => None,
        };
        nonce.map(|nonce| Solved { nonce, per_s }).ok_or_else(|| self.wanted(asker, per_s))
    }

    /// Spends a proof. Of two who bring the same at once, one does.
    ///
    /// # Errors
    /// 403 with a challenge for the other one; 503 when no more can be remembered.
    pub(super) fn spend(&self, asker: &Asker<'_>, solved: Solved) -> Result<(), Answer> {
        let is_first = self.spent.lock().first(solved.nonce, asker.now);
        match is_first {
            Some(true) => {
                self.passed.increment(1);
                Ok(())
            }
            Some(false) => Err(self.wanted(asker, solved.per_s)),
            None => Err(Refusal::new(Code::Overloaded).into()),
        }
    }

    /// The refusal that asks for a proof.
    fn wanted(&self, asker: &Asker<'_>, per_s: u32) -> Answer {
        self.asked.increment(1);
        let wanted = match self.challenge(asker.sale.slot, asker.rules, asker.buyer, per_s, asker.now) {
            Ok(wanted) => wanted,
            Err(error) => return asker.caller.internal(error).into(),
        };
        let error = ApiError::new(Code::ProofRequired, "Solve the challenge, then ask again with its proof.");
        ApiError { proof: Some(Box::new(wanted)), ..error }.into()
    }

    fn challenge(
        &self,
        slot: u32,
        rules: &SaleRules,
        buyer: &BuyerId,
        per_s: u32,
        now: UnixMillis,
    ) -> Result<ProofWanted, getrandom::Error> {
        let mut challenge = [0; CHALLENGE_LEN];
        getrandom::fill(&mut challenge[..NONCE_LEN])?;
        let bits = rules.proof_bits.map_or(0, |base| bits_for(base, per_s));
        challenge[NONCE_LEN..NONCE_LEN + 8].copy_from_slice(&now.plus(CHALLENGE_MS).0.to_be_bytes());
        challenge[NONCE_LEN + 8] = bits;
        let mac = self.mac(slot, buyer, &challenge[..CHALLENGE_LEN - MAC_LEN]).finalize().into_bytes();
        challenge[CHALLENGE_LEN - MAC_LEN..].copy_from_slice(&mac);
        let image = rules.captcha.then(|| self.captcha.question(&self.secret(&challenge)));
        Ok(ProofWanted { challenge: URL_SAFE_NO_PAD.encode(challenge), bits, captcha: image })
    }

    /// The nonce of the challenge, if it is genuine, in time, this buyer's and this sale's, solved, and not spent: one
    /// that is must not count against the sale's limit.
    async fn is_solved(&self, asker: &Asker<'_>, proof: &Proof) -> Option<[u8; NONCE_LEN]> {
        let &Asker { sale, rules, buyer, now, .. } = asker;
        let mut challenge = [0; CHALLENGE_LEN];
        let len = URL_SAFE_NO_PAD.decode_slice(&proof.challenge, &mut challenge).ok()?;
        let (signed, mac) = challenge.split_at(CHALLENGE_LEN - MAC_LEN);
        if len != CHALLENGE_LEN || self.mac(sale.slot, buyer, signed).verify_slice(mac).is_err() {
            return None;
        }
        let (nonce, rest) = signed.split_first_chunk::<NONCE_LEN>()?;
        let (ends, bits) = rest.split_first_chunk::<8>()?;
        let is_in_time = now.0 < i64::from_be_bytes(*ends);
        if !is_in_time || !is_work(&proof.challenge, &proof.solution, *bits.first()?) {
            return None;
        }
        if self.spent.lock().knows(nonce) {
            return None;
        }
        let answer = proof.captcha.as_deref().unwrap_or_default();
        let is_right = !rules.captcha || self.captcha.is_answer(&self.secret(&challenge), answer).await;
        if !is_right {
            // A wrong answer spends the challenge: guessing costs a new image each time.
            self.spent.lock().first(*nonce, now);
            return None;
        }
        Some(*nonce)
    }

    fn mac(&self, slot: u32, buyer: &BuyerId, signed: &[u8]) -> Hmac<Sha256> {
        let mac = self.key.clone().chain_update(b"challenge").chain_update(slot.to_be_bytes());
        // The signed part has one length, so the buyer's name cannot flow into it.
        mac.chain_update(signed).chain_update(buyer.as_str())
    }

    /// What a challenge's captcha is made of.
    fn secret(&self, challenge: &[u8; CHALLENGE_LEN]) -> Hmac<Sha256> {
        self.key.clone().chain_update(b"captcha").chain_update(challenge)
    }
}

/// Whether SHA-256 of `challenge:solution` begins with so many zero bits.
fn is_work(challenge: &str, solution: &str, bits: u8) -> bool {
    if solution.len() > SOLUTION_LEN_MAX {
        return false;
    }
    let hash = Sha256::new().chain_update(challenge).chain_update(b":").chain_update(solution).finalize();
    let (head, _) = hash.split_first_chunk::<4>().unwrap_or((&[0xff; 4], &[]));
    u32::from_be_bytes(*head).leading_zeros() >= u32::from(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crowd_raises_the_bits_and_they_fall_with_it() {
        assert_eq!([0, 499, 500, 1000, 2000, 4_000_000].map(|n| bits_for(12, n)), [12, 12, 13, 14, 15, 18]);
        assert_eq!(bits_for(PROOF_BITS_MAX, 4_000_000), PROOF_BITS_MAX);
        let crowd = Crowd::default();
        let at = |ms| crowd.grows(UnixMillis(ms));
        (1..=600).for_each(|n| assert_eq!(at(5000), n));
        assert_eq!(at(6000), 600, "the second before still counts");
        assert_eq!(at(7000), 1);
    }

    #[test]
    fn a_challenge_counts_once_and_memory_is_bounded_by_time() {
        let mut spent = Spent::default();
        let (now, nonce) = (UnixMillis(1_790_000_000_000), [7; NONCE_LEN]);
        assert_eq!(spent.first(nonce, now), Some(true));
        for later in [0, CHALLENGE_MS / 2, CHALLENGE_MS - 1, CHALLENGE_MS] {
            assert_eq!(spent.first(nonce, now.plus(later)), Some(false), "{later}");
        }
        // Read before the generations turned, and here after it: they do not turn again.
        let (turned, other) = (now.plus(CHALLENGE_MS), [9; NONCE_LEN]);
        assert_eq!(spent.first(other, turned.plus(-1)), Some(true));
        assert_eq!(spent.first(nonce, turned), Some(false));
        // By now the challenge itself has ended.
        spent.first([8; NONCE_LEN], now.plus(3 * CHALLENGE_MS));
        assert!(spent.old.is_empty() && spent.young.len() == 1);
    }
}
