//! Proof of work and captcha: a challenge, bound to its buyer, its sale and this gateway, good once.

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
use crate::purchase::{Answer, Caller};
use crate::sale::Sale;

/// How long a challenge may be worked on.
const CHALLENGE_MS: i64 = 120_000;
/// Challenges that are remembered, of all sales together: the last ones given, with a bit for each, so 8 MiB at most. An
/// older one counts as ended. It ends early only where more than 559,000 a second are given all its two minutes long.
const CHALLENGES_MAX: usize = 1 << 26;
/// From this many ticket requests of one sale a second on, a proof takes one bit more; every doubling adds another.
const CALM_PER_S: u32 = 500;
/// Bits the crowd adds at most.
const EXTRA_BITS_MAX: u8 = 6;
/// Longest solution in bytes.
const SOLUTION_LEN_MAX: usize = 32;

const SALT_LEN: usize = 8;
/// Where a challenge says when it ends: behind its salt and its veiled serial number.
const ENDS_AT: usize = SALT_LEN + 8;
/// Where it says how many bits it wants.
const BITS_AT: usize = ENDS_AT + 8;
const MAC_AT: usize = BITS_AT + 1;
const CHALLENGE_LEN: usize = MAC_AT + 32;

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
        let before = self.second.swap(second, Ordering::AcqRel);
        if before != second {
            let then = self.this.swap(0, Ordering::AcqRel);
            // A crowd of longer ago is no crowd any more.
            self.last.store(if before + 1 == second { then } else { 0 }, Ordering::Release);
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

/// Asks for proofs, and judges them. Keeps of a challenge only whether it was answered.
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
    serial: u64,
    /// The crowd at that moment.
    per_s: u32,
}

/// Which of the last challenges were answered, whoever answered them and whenever: there is a bit for each that was
/// given, so that answering many shuts nobody out, and no clock is asked.
struct Spent {
    /// The last challenge has taken the place of one that is too old now.
    words: Vec<u64>,
    /// The serial number of the next one.
    next: u64,
}

impl Spent {
    /// Remembers so many challenges, a multiple of 64. The system gives the memory when it is first written to.
    fn of(challenges: usize) -> Self {
        Self { words: vec![0; challenges / 64], next: 0 }
    }

    /// How many challenges are remembered.
    fn window(&self) -> u64 {
        self.words.len() as u64 * 64
    }

    /// A challenge's word, and its bit there.
    fn place(&self, serial: u64) -> (usize, u64) {
        let word = usize::try_from(serial % self.window() / 64).expect("it is one of the words");
        (word, 1_u64 << (serial % 64))
    }

    /// The serial number of a new challenge.
    fn give(&mut self) -> u64 {
        let serial = self.next;
        self.next += 1;
        let (word, bit) = self.place(serial);
        self.words[word] &= !bit;
        serial
    }

    /// Whether this challenge was answered before, or is so old that nobody knows.
    fn knows(&self, serial: u64) -> bool {
        let (word, bit) = self.place(serial);
        let is_forgotten = self.next > serial.saturating_add(self.window());
        is_forgotten || self.words[word] & bit != 0
    }

    /// Spends this challenge: whether it was not spent before.
    fn spend(&mut self, serial: u64) -> bool {
        if self.knows(serial) {
            return false;
        }
        let (word, bit) = self.place(serial);
        self.words[word] |= bit;
        true
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
            spent: Mutex::new(Spent::of(CHALLENGES_MAX)),
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
        let serial = match proof {
            Some(proof) => self.verified_serial(asker, proof).await,
            None => None,
        };
        serial.map(|serial| Solved { serial, per_s }).ok_or_else(|| self.wanted(asker, per_s))
    }

    /// Spends a proof. Of two who bring the same at once, one does.
    ///
    /// # Errors
    /// 403 with a challenge for the other one.
    pub(super) fn spend(&self, asker: &Asker<'_>, solved: Solved) -> Result<(), Answer> {
        let is_first = self.spent.lock().spend(solved.serial);
        if !is_first {
            return Err(self.wanted(asker, solved.per_s));
        }
        self.passed.increment(1);
        Ok(())
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
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt)?;
        let serial = self.spent.lock().give() ^ self.veil(&salt);
        let bits = rules.proof_bits.map_or(0, |base| bits_for(base, per_s));
        let mut challenge = [0; CHALLENGE_LEN];
        challenge[..SALT_LEN].copy_from_slice(&salt);
        challenge[SALT_LEN..ENDS_AT].copy_from_slice(&serial.to_be_bytes());
        challenge[ENDS_AT..BITS_AT].copy_from_slice(&now.plus(CHALLENGE_MS).0.to_be_bytes());
        challenge[BITS_AT] = bits;
        let mac = self.mac(slot, buyer, &challenge[..MAC_AT]).finalize().into_bytes();
        challenge[MAC_AT..].copy_from_slice(&mac);
        let image = rules.captcha.then(|| self.captcha.question(&self.secret(&challenge)));
        Ok(ProofWanted { challenge: URL_SAFE_NO_PAD.encode(challenge), bits, captcha: image })
    }

    /// The challenge's serial number, if it is genuine, in time, this buyer's and this sale's, solved, and not spent: one
    /// that is must not count against the sale's limit.
    async fn verified_serial(&self, asker: &Asker<'_>, proof: &Proof) -> Option<u64> {
        let &Asker { sale, rules, buyer, now, .. } = asker;
        let mut challenge = [0; CHALLENGE_LEN];
        let len = URL_SAFE_NO_PAD.decode_slice(&proof.challenge, &mut challenge).ok()?;
        let (signed, mac) = challenge.split_at(MAC_AT);
        if len != CHALLENGE_LEN || self.mac(sale.slot, buyer, signed).verify_slice(mac).is_err() {
            return None;
        }
        let (salt, rest) = signed.split_first_chunk::<SALT_LEN>()?;
        let (veiled, rest) = rest.split_first_chunk::<8>()?;
        let (ends, bits) = rest.split_first_chunk::<8>()?;
        let is_in_time = now.0 < i64::from_be_bytes(*ends);
        if !is_in_time || !is_work(&proof.challenge, &proof.solution, *bits.first()?) {
            return None;
        }
        let serial = u64::from_be_bytes(*veiled) ^ self.veil(salt);
        if self.spent.lock().knows(serial) {
            return None;
        }
        let answer = proof.captcha.as_deref().unwrap_or_default();
        let is_right = !rules.captcha || self.captcha.is_answer(&self.secret(&challenge), answer).await;
        if !is_right {
            // A wrong answer spends the challenge: guessing costs a new image each time.
            self.spent.lock().spend(serial);
            return None;
        }
        Some(serial)
    }

    fn mac(&self, slot: u32, buyer: &BuyerId, signed: &[u8]) -> Hmac<Sha256> {
        let mac = self.key.clone().chain_update(b"challenge").chain_update(slot.to_be_bytes());
        // The signed part has one length, so the buyer's name cannot flow into it.
        mac.chain_update(signed).chain_update(buyer.as_str())
    }

    /// What a serial number is hidden under: it would tell everybody how many ask.
    fn veil(&self, salt: &[u8; SALT_LEN]) -> u64 {
        let veil: [u8; 32] =
            self.key.clone().chain_update(b"serial").chain_update(salt).finalize().into_bytes().into();
        u64::from_be_bytes(std::array::from_fn(|n| veil[n]))
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
        (2..=600).for_each(|n| assert_eq!(at(7500), n));
        assert_eq!(at(9000), 1, "there was a second without anybody");
    }

    #[test]
    fn a_challenge_counts_once_and_spending_many_shuts_nobody_out() {
        let mut spent = Spent::of(128);
        for _ in 0..1000 {
            let serial = spent.give();
            assert!(!spent.knows(serial), "its place is free, though every one before it was spent");
            assert!(spent.spend(serial));
            assert!(spent.knows(serial) && !spent.spend(serial));
        }
        assert_eq!(spent.words.len(), 2);
    }

    #[test]
    fn a_challenge_too_old_to_be_remembered_is_not_taken() {
        let mut spent = Spent::of(128);
        let (answered, open) = (spent.give(), spent.give());
        assert!(spent.spend(answered));
        (2..128).for_each(|n| assert_eq!(spent.give(), n));
        assert!(spent.knows(answered) && !spent.knows(open), "so many are remembered");
        let newer = spent.give();
        assert!(spent.knows(answered) && !spent.knows(open) && !spent.knows(newer));
        spent.give();
        assert!(!spent.spend(answered) && !spent.spend(open) && !spent.knows(newer));
    }

    #[test]
    fn a_challenge_does_not_tell_how_many_there_were() {
        let proofs = Proofs::new(Arc::new(crate::Digits));
        let (rules, buyer): (_, BuyerId) = (SaleRules::default(), "alice".parse().unwrap());
        let serials = [(); 2].map(|()| {
            let wanted = proofs.challenge(1, &rules, &buyer, 1, UnixMillis(0)).unwrap();
            let bytes = URL_SAFE_NO_PAD.decode(wanted.challenge).unwrap();
            u64::from_be_bytes(std::array::from_fn(|n| bytes[SALT_LEN + n]))
        });
        assert_eq!(proofs.spent.lock().next, 2);
        assert!(serials[0].abs_diff(serials[1]) > 1000, "{serials:?}");
    }
}
