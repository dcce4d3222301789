//! A sale's waiting room: who comes in when.
//!
//! Those who arrived before the opening are drawn by lot, those who came later follow in the order they came.
//! The lot is a keyed hash of the buyer's name. Its seed follows from the sale's secret slug, so every gateway
//! draws alike without asking another; the seed's hash is shown from the start and the seed itself from the
//! opening on, so that everybody can check their lot and nobody can choose it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use contract::Code;
use contract::rules::RoomRules;
use domain::{BuyerId, UnixMillis};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::gateway::Gateway;
use crate::limits::buyer_key;
use crate::purchase::Refusal;
use crate::sale::Sale;
use crate::tickets::{Kind, seal, unseal};

/// How long somebody may be away before the place is given up.
const AWAY_MS_MAX: i64 = 30_000;
/// How long a pass is good, and its holder remembered.
const PASS_MS: i64 = 120_000;
/// When somebody who found a room full may ask again, in seconds.
const FULL_RETRY_S: u32 = 10;
/// What one buyer takes of the bucket.
const MILLI: u64 = 1_000;

/// A place in the line: those drawn by lot first, then those who came later; by lot, or by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Turn {
    is_late: bool,
    order: u64,
    /// The buyer's key: two of the same moment do not share a turn.
    buyer: u64,
}

struct Waiting {
    seen: UnixMillis,
    streams: u32,
    /// Unknown until it is counted.
    position: Option<u32>,
}

#[derive(Default)]
struct Line {
    turns: BTreeMap<Turn, Waiting>,
    by_buyer: HashMap<u64, Turn>,
    /// Until when they are remembered.
    let_in: HashMap<u64, UnixMillis>,
    /// A token bucket: thousandths of buyers that may be let in.
    credit: u64,
    last: UnixMillis,
}

/// A sale's waiting room at this gateway. Empty, and without memory, unless the sale has the rule.
#[derive(Default)]
pub(crate) struct Room {
    line: Mutex<Line>,
    /// Rung when anybody's place may have changed.
    pub(crate) bell: Arc<Notify>,
}

/// Where somebody stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// In the line, with this number; before the opening, and until it is counted, nobody's is known.
    Waiting(Option<u32>),
    /// Let in.
    LetIn,
    /// Not here.
    Unknown,
}

/// The lot's seed: known before the opening only to who knows the slug.
#[must_use]
pub(crate) fn seed(slug: &str) -> [u8; 32] {
    Sha256::new().chain_update(b"waiting room of ").chain_update(slug).finalize().into()
}

/// A buyer's lot: the smaller, the sooner.
#[must_use]
pub(crate) fn lot(seed: &[u8; 32], buyer: &BuyerId) -> u64 {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(seed) else { return u64::MAX };
    let hash = mac.chain_update(buyer.as_str()).finalize().into_bytes();
    hash.first_chunk().map_or(u64::MAX, |head| u64::from_be_bytes(*head))
}

impl Turn {
    /// The turn of somebody who arrives now.
    #[must_use]
    pub(crate) fn arriving(sale: &Sale, buyer: &BuyerId, has_opened: bool, now: UnixMillis) -> Self {
        let order =
            if has_opened { now.0.unsigned_abs() } else { lot(&seed(&sale.terms().sale.slug), buyer) };
        Self { is_late: has_opened, order, buyer: buyer_key(buyer) }
    }

    /// The signed place: what another gateway, or this one after a restart, needs to give it back.
    #[must_use]
    pub(crate) fn place(self, gateway: &Gateway, sale: &Sale, buyer: &BuyerId) -> String {
        let order = self.order.to_be_bytes();
        let fields: [&[u8]; 4] =
            [sale.id.as_str().as_bytes(), buyer.as_str().as_bytes(), &[u8::from(self.is_late)], &order];
        seal(&gateway.ticket_keys, Kind::Place, &fields)
    }

    /// The turn that a place says, if it is genuine, this sale's and this buyer's.
    #[must_use]
    pub(crate) fn of_place(gateway: &Gateway, sale: &Sale, buyer: &BuyerId, place: &str) -> Option<Self> {
        let [of_sale, of_buyer, is_late, order] = unseal(&gateway.ticket_keys, Kind::Place, place)?;
        let is_theirs = of_sale == sale.id.as_str().as_bytes() && of_buyer == buyer.as_str().as_bytes();
        let order = u64::from_be_bytes(order.as_slice().try_into().ok()?);
        is_theirs.then_some(Self { is_late: is_late == [1], order, buyer: buyer_key(buyer) })
    }
}

/// A pass for somebody who was let in, and when it ends.
#[must_use]
pub(crate) fn pass(gateway: &Gateway, sale: &Sale, buyer: &BuyerId) -> (String, UnixMillis) {
    let ends = gateway.clock.now().plus(PASS_MS);
    let fields: [&[u8]; 3] = [sale.id.as_str().as_bytes(), buyer.as_str().as_bytes(), &ends.0.to_be_bytes()];
    (seal(&gateway.ticket_keys, Kind::Pass, &fields), ends)
}

/// Whether this pass lets this buyer through now; any gateway's does.
#[must_use]
pub(crate) fn is_let_in(gateway: &Gateway, sale: &Sale, buyer: &BuyerId, pass: &str) -> bool {
    let Some([of_sale, of_buyer, ends]) = unseal::<3>(&gateway.ticket_keys, Kind::Pass, pass) else {
        return false;
    };
    let ends = ends.as_slice().try_into().map_or(0, i64::from_be_bytes);
    of_sale == sale.id.as_str().as_bytes()
        && of_buyer == buyer.as_str().as_bytes()
        && gateway.clock.now().0 < ends
}

impl Room {
    /// Takes a place, or says where somebody stands who has one.
    ///
    /// # Errors
    /// 503 when the room is full.
    pub(crate) fn enter(&self, turn: Turn, rules: RoomRules, now: UnixMillis) -> Result<Turn, Refusal> {
        let mut line = self.line.lock();
        if let Some(held) = line.by_buyer.get(&turn.buyer).copied() {
            if let Some(waiting) = line.turns.get_mut(&held) {
                waiting.seen = now;
            }
            return Ok(held);
        }
        if line.let_in.contains_key(&turn.buyer) {
            return Ok(turn);
        }
        if line.turns.len() >= rules.capacity as usize {
            return Err(Refusal { retry_after_s: FULL_RETRY_S, ..Refusal::new(Code::Overloaded) });
        }
        line.by_buyer.insert(turn.buyer, turn);
        // A late one stands at the end of the line. Where lots put the others is counted every second: also for those who
        // bring theirs back after the opening.
        let last = u32::try_from(line.turns.len()).unwrap_or(u32::MAX).saturating_add(1);
        let position = turn.is_late.then_some(last);
        line.turns.insert(turn, Waiting { seen: now, streams: 0, position });
        Ok(turn)
    }

    /// Where a buyer stands. Asking is being here.
    pub(crate) fn standing(&self, buyer: u64, has_opened: bool, now: UnixMillis) -> Standing {
        let mut line = self.line.lock();
        if line.let_in.get(&buyer).is_some_and(|until| now < *until) {
            return Standing::LetIn;
        }
        let Some(turn) = line.by_buyer.get(&buyer).copied() else { return Standing::Unknown };
        let Some(waiting) = line.turns.get_mut(&turn) else { return Standing::Unknown };
        waiting.seen = now;
        Standing::Waiting(waiting.position.filter(|_| has_opened))
    }

    /// A stream of this buyer opens, or closes.
    pub(crate) fn watch(&self, buyer: u64, opens: bool, now: UnixMillis) {
        let mut line = self.line.lock();
        let Some(turn) = line.by_buyer.get(&buyer).copied() else { return };
        if let Some(waiting) = line.turns.get_mut(&turn) {
            waiting.streams = if opens { waiting.streams + 1 } else { waiting.streams.saturating_sub(1) };
            waiting.seen = now;
        }
    }

    /// Lets in as many as the time since the last call allows, while the sale sells; those who are away are
    /// passed over. Says how many.
    pub(crate) fn let_in(&self, rules: RoomRules, is_selling: bool, now: UnixMillis) -> usize {
        let mut line = self.line.lock();
        let is_first = line.last == UnixMillis::default();
        let since = if is_first { 0 } else { now.since(line.last).clamp(0, 1000).unsigned_abs() };
        line.last = now;
        let per_s = u64::from(rules.admit_per_s);
        // At most a second's worth: nobody is let in for the time the sale did not sell.
        line.credit = if is_selling { (line.credit + since * per_s).min(MILLI * per_s) } else { 0 };
        let mut entered = 0;
        while line.credit >= MILLI {
            let Some((turn, waiting)) = line.turns.pop_first() else { break };
            line.by_buyer.remove(&turn.buyer);
            if waiting.is_away(now) {
                continue;
            }
            line.let_in.insert(turn.buyer, now.plus(PASS_MS));
            line.credit -= MILLI;
            entered += 1;
        }
        drop(line);
        if entered > 0 {
            self.bell.notify_waiters();
        }
        entered
    }

    /// Gives up the places of those who are away, counts the others, forgets old passes.
    pub(crate) fn tidy(&self, now: UnixMillis) {
        let mut line = self.line.lock();
        let Line { turns, by_buyer, let_in, .. } = &mut *line;
        let mut position = 0;
        turns.retain(|turn, waiting| {
            if waiting.is_away(now) {
                by_buyer.remove(&turn.buyer);
                return false;
            }
            position += 1;
            waiting.position = Some(position);
            true
        });
        let_in.retain(|_, until| now < *until);
        if turns.is_empty() && by_buyer.capacity() > 64 {
            by_buyer.shrink_to_fit();
            let_in.shrink_to_fit();
        }
        drop(line);
        self.bell.notify_waiters();
    }

    /// The rule was taken back: forgets everybody, and tells those who listen. Does nothing where nobody was.
    pub(crate) fn clear(&self) {
        let mut line = self.line.lock();
        if line.turns.is_empty() && line.let_in.is_empty() {
            return;
        }
        *line = Line::default();
        drop(line);
        self.bell.notify_waiters();
    }

    /// How many wait.
    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.line.lock().turns.len()
    }
}

impl Waiting {
    fn is_away(&self, now: UnixMillis) -> bool {
        self.streams == 0 && now.since(self.seen) > AWAY_MS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: RoomRules = RoomRules { capacity: 1000, admit_per_s: 10 };
    const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

    fn turn(is_late: bool, order: u64, buyer: u64) -> Turn {
        Turn { is_late, order, buyer }
    }

    #[test]
    fn those_drawn_come_first_by_lot_then_the_others_as_they_came() {
        let room = Room::default();
        for (late, order, buyer) in [(true, 5, 1), (false, 9, 2), (true, 4, 3), (false, 7, 4)] {
            room.enter(turn(late, order, buyer), RULES, NOW).unwrap();
        }
        assert_eq!(room.standing(3, true, NOW), Standing::Waiting(Some(3)), "a late one stands behind all");
        room.tidy(NOW);
        let positions = [4, 2, 3, 1].map(|buyer| room.standing(buyer, true, NOW));
        assert_eq!(positions, [1, 2, 3, 4].map(|n| Standing::Waiting(Some(n))));
        assert_eq!(room.standing(4, false, NOW), Standing::Waiting(None), "not before the draw");
        room.let_in(RULES, true, NOW);
        assert_eq!(room.let_in(RULES, true, NOW.plus(200)), 2);
        let standings = [4, 2, 3].map(|buyer| room.standing(buyer, true, NOW.plus(200)));
        assert_eq!(standings[..2], [Standing::LetIn, Standing::LetIn]);
        assert!(matches!(standings[2], Standing::Waiting(_)));
    }

    #[test]
    fn the_pace_holds_and_nothing_is_saved_up_while_nothing_is_sold() {
        let room = Room::default();
        for buyer in 0..1000 {
            room.enter(turn(true, buyer, buyer), RULES, NOW).unwrap();
        }
        assert!(room.enter(turn(true, 0, 1000), RULES, NOW).is_err(), "full");
        room.let_in(RULES, true, NOW);
        let mut entered = 0;
        for tick in 1..=100 {
            entered += room.let_in(RULES, true, NOW.plus(100 * tick));
        }
        assert_eq!(entered, 100, "ten seconds at ten a second");
        assert_eq!(room.let_in(RULES, false, NOW.plus(20_000)), 0);
        assert!(room.let_in(RULES, true, NOW.plus(20_100)) <= 1);
    }

    #[test]
    fn who_is_away_too_long_loses_the_place_and_who_listens_does_not() {
        let room = Room::default();
        room.enter(turn(true, 1, 1), RULES, NOW).unwrap();
        room.enter(turn(true, 2, 2), RULES, NOW).unwrap();
        room.watch(2, true, NOW);
        room.tidy(NOW.plus(AWAY_MS_MAX + 1));
        assert_eq!(room.standing(1, true, NOW), Standing::Unknown);
        assert_eq!(room.standing(2, true, NOW), Standing::Waiting(Some(1)));
        // The place comes back with what its holder kept.
        room.enter(turn(true, 1, 1), RULES, NOW.plus(40_000)).unwrap();
        room.tidy(NOW.plus(40_000));
        assert_eq!(room.standing(1, true, NOW.plus(40_000)), Standing::Waiting(Some(1)));
        assert_eq!(room.waiting(), 2);
    }

    #[test]
    fn a_drawn_place_that_is_handed_back_has_no_number_until_it_is_counted() {
        let room = Room::default();
        room.enter(turn(true, 1, 1), RULES, NOW).unwrap();
        room.enter(turn(false, 1, 2), RULES, NOW).unwrap();
        room.enter(turn(false, 9, 3), RULES, NOW).unwrap();
        let standings = || [1, 2, 3].map(|buyer| room.standing(buyer, true, NOW));
        assert_eq!(standings(), [Some(1), None, None].map(Standing::Waiting));
        room.tidy(NOW);
        assert_eq!(standings(), [3, 1, 2].map(|n| Standing::Waiting(Some(n))));
    }

    #[tokio::test]
    async fn a_room_whose_rule_is_gone_is_left_empty_and_says_so() {
        let room = Room::default();
        let rings = |room: &Room| room.bell.clone().notified_owned();
        let quiet = rings(&room);
        room.clear();
        assert!(futures_util::FutureExt::now_or_never(quiet).is_none(), "nobody was there");
        room.enter(turn(true, 1, 1), RULES, NOW).unwrap();
        room.enter(turn(true, 2, 2), RULES, NOW).unwrap();
        room.let_in(RULES, true, NOW);
        assert_eq!(room.let_in(RULES, true, NOW.plus(100)), 1);
        let rung = rings(&room);
        room.clear();
        rung.await;
        assert_eq!(room.waiting(), 0);
        let standings = [1, 2].map(|buyer| room.standing(buyer, true, NOW.plus(100)));
        assert_eq!(standings, [Standing::Unknown; 2]);
    }

    #[test]
    fn a_lot_follows_from_seed_and_name_alone() {
        let (one, other) = (seed("slug-1"), seed("slug-2"));
        let alice: BuyerId = "alice".parse().unwrap();
        assert_eq!(lot(&one, &alice), lot(&one, &alice));
        assert_ne!(lot(&one, &alice), lot(&other, &alice));
        let early = (0..1000).filter(|n| lot(&one, &format!("b{n}").parse().unwrap()) < u64::MAX / 2).count();
        assert!((400..600).contains(&early), "{early} of 1000 in the first half");
    }
}
