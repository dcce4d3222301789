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
use domain::{BuyerId, SaleId, UnixMillis};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use crate::gateway::Gateway;
use crate::limits::buyer_key;
use crate::purchase::Refusal;
use crate::sale::Sale;
use crate::tickets::{Kind, TicketKeys, seal, unseal};

/// How long somebody may be away before the place is given up.
const AWAY_MS_MAX: i64 = 30_000;
/// How old a signed place may be: whoever does not renew theirs for so long was not here.
const PLACE_MS_MAX: i64 = 2 * AWAY_MS_MAX;
/// How old the place of somebody who listens may get before a new one is told. Soon enough for a gateway that ends then
/// to leave them most of the time that theirs is good.
pub(crate) const RENEW_MS: i64 = AWAY_MS_MAX / 2;
/// How long a pass is good, and its holder remembered.
const PASS_MS: i64 = 120_000;
/// When somebody who found a room full may ask again, in seconds.
const FULL_RETRY_S: u32 = 10;
/// After those who wait were told that the stock is gone, they are not told again for so long: single units that come
/// back and sell would wake everybody each time. [`Room::tidy`] tells them soon enough.
const STOCK_NEWS_PAUSE: Duration = Duration::from_secs(1);
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
    /// Rung when this one is let in: there is one while anybody listens.
    bell: Option<Arc<Notify>>,
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
    /// Rung every second, and when there is news for all. Who is let in is told by a bell of their own.
    pub(crate) bell: Arc<Notify>,
    /// When it was last rung because the stock was gone.
    stock_news: Mutex<Option<Instant>>,
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

    /// The signed place, as of now: what another gateway, or this one after a restart, needs to give it back.
    ///
    /// Of somebody who takes part in the draw it says no more than that: who could read a lot before the opening could
    /// come under other names until one has a good lot.
    #[must_use]
    pub(crate) fn place(self, keys: &TicketKeys, sale: &SaleId, buyer: &BuyerId, now: UnixMillis) -> String {
        let (renewed, order) = (now.0.to_be_bytes(), self.order.to_be_bytes());
        let arrived: &[u8] = if self.is_late { &order } else { &[] };
        let fields: [&[u8]; 4] = [sale.as_str().as_bytes(), buyer.as_str().as_bytes(), &renewed, arrived];
        seal(keys, Kind::Place, &fields)
    }

    /// The turn that a place says, if it is genuine, this sale's and this buyer's, and young enough. `slug` is the sale's.
    #[must_use]
    pub(crate) fn of_place(
        keys: &TicketKeys,
        (sale, slug): (&SaleId, &str),
        buyer: &BuyerId,
        place: &str,
        now: UnixMillis,
    ) -> Option<Self> {
        let [of_sale, of_buyer, renewed, arrived] = unseal(keys, Kind::Place, place)?;
        let is_theirs = of_sale == sale.as_str().as_bytes() && of_buyer == buyer.as_str().as_bytes();
        let renewed = UnixMillis(i64::from_be_bytes(renewed.as_slice().try_into().ok()?));
        if !is_theirs || now.since(renewed) > PLACE_MS_MAX {
            return None;
        }
        let is_late = !arrived.is_empty();
        let order = if is_late {
            u64::from_be_bytes(arrived.as_slice().try_into().ok()?)
        } else {
            lot(&seed(slug), buyer)
        };
        Some(Self { is_late, order, buyer: buyer_key(buyer) })
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
        line.turns.insert(turn, Waiting { seen: now, streams: 0, bell: None, position });
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

    /// The turn of somebody who waits.
    #[must_use]
    pub(crate) fn turn(&self, buyer: u64) -> Option<Turn> {
        self.line.lock().by_buyer.get(&buyer).copied()
    }

    /// A stream of this buyer opens. Gives what is rung when they are let in.
    pub(crate) fn watch(&self, buyer: u64, now: UnixMillis) -> Arc<Notify> {
        let mut line = self.line.lock();
        let Some(turn) = line.by_buyer.get(&buyer).copied() else { return Arc::default() };
        let Some(waiting) = line.turns.get_mut(&turn) else { return Arc::default() };
        waiting.streams += 1;
        waiting.seen = now;
        waiting.bell.get_or_insert_default().clone()
    }

    /// A stream of this buyer closes.
    pub(crate) fn unwatch(&self, buyer: u64, now: UnixMillis) {
        let mut line = self.line.lock();
        let Some(turn) = line.by_buyer.get(&buyer).copied() else { return };
        let Some(waiting) = line.turns.get_mut(&turn) else { return };
        waiting.streams = waiting.streams.saturating_sub(1);
        waiting.seen = now;
        if waiting.streams == 0 {
            waiting.bell = None;
        }
    }

    /// Lets in as many as the time since the last call allows, while the sale sells; those who are away are
    /// passed over. Rings for those let in only: for all it would be too often. Says how many.
    pub(crate) fn let_in(&self, rules: RoomRules, is_selling: bool, now: UnixMillis) -> usize {
        let mut line = self.line.lock();
        let is_first = line.last == UnixMillis::default();
        let since = if is_first { 0 } else { now.since(line.last).clamp(0, 1000).unsigned_abs() };
        line.last = now;
        let per_s = u64::from(rules.admit_per_s);
        // At most a second's worth: nobody is let in for the time the sale did not sell.
        line.credit = if is_selling { (line.credit + since * per_s).min(MILLI * per_s) } else { 0 };
        let mut entered = 0;
        let mut bells: Vec<Arc<Notify>> = Vec::new();
        while line.credit >= MILLI {
            let Some((turn, waiting)) = line.turns.pop_first() else { break };
            line.by_buyer.remove(&turn.buyer);
            if waiting.is_away(now) {
                continue;
            }
            line.let_in.insert(turn.buyer, now.plus(PASS_MS));
            line.credit -= MILLI;
            entered += 1;
            bells.extend(waiting.bell);
        }
        drop(line);
        bells.iter().for_each(|bell| bell.notify_waiters());
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

    /// Tells those who wait at once that the stock is gone.
    pub(crate) fn stock_is_gone(&self) {
        let mut last = self.stock_news.lock();
        if last.is_none_or(|at| at.elapsed() >= STOCK_NEWS_PAUSE) {
            *last = Some(Instant::now());
            self.bell.notify_waiters();
        }
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
        room.watch(2, NOW);
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

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_told_at_once_that_the_stock_is_gone_and_not_for_every_unit_that_came_back() {
        let room = Room::default();
        let is_told = |room: &Room| {
            let ring = room.bell.clone().notified_owned();
            room.stock_is_gone();
            futures_util::FutureExt::now_or_never(ring).is_some()
        };
        assert_eq!([is_told(&room), is_told(&room), is_told(&room)], [true, false, false]);
        tokio::time::advance(STOCK_NEWS_PAUSE).await;
        assert!(is_told(&room));
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

    #[tokio::test]
    async fn who_is_let_in_hears_it_and_the_others_are_left_alone() {
        let room = Room::default();
        for buyer in [1, 2] {
            room.enter(turn(true, buyer, buyer), RULES, NOW).unwrap();
        }
        let bells = [1, 1, 2].map(|buyer| room.watch(buyer, NOW));
        let [first, second, others] = bells.map(Notify::notified_owned);
        let everybodys = room.bell.clone().notified_owned();
        room.unwatch(1, NOW);
        room.let_in(RULES, true, NOW);
        assert_eq!(room.let_in(RULES, true, NOW.plus(100)), 1);
        let is_rung = [first, second, others, everybodys]
            .map(|bell| futures_util::FutureExt::now_or_never(bell).is_some());
        assert_eq!(is_rung, [true, true, false, false]);
    }

    /// Keys, a sale and a buyer.
    fn named() -> (TicketKeys, SaleId, BuyerId) {
        let keys = format!("k:{}", "ab".repeat(32)).parse().unwrap();
        (keys, "sale-1".parse().unwrap(), "alice".parse().unwrap())
    }

    #[test]
    fn a_place_says_nothing_of_a_lot_that_is_not_drawn() {
        let (keys, sale, alice) = named();
        let drawn = |slug| Turn { is_late: false, order: lot(&seed(slug), &alice), buyer: buyer_key(&alice) };
        let place = drawn("slug-1").place(&keys, &sale, &alice, NOW);
        assert_eq!(place, drawn("slug-2").place(&keys, &sale, &alice, NOW));
        // The gateway knows it all the same.
        for slug in ["slug-1", "slug-2"] {
            assert_eq!(Turn::of_place(&keys, (&sale, slug), &alice, &place, NOW), Some(drawn(slug)));
        }
    }

    #[test]
    fn a_place_lapses_unless_it_is_renewed_and_keeps_its_turn_if_it_is() {
        let (keys, sale, alice) = named();
        let of = |place: &str, now| Turn::of_place(&keys, (&sale, "slug"), &alice, place, now);
        for (is_late, order) in [(false, lot(&seed("slug"), &alice)), (true, 7)] {
            let turn = Turn { is_late, order, buyer: buyer_key(&alice) };
            let (mut place, mut now) = (turn.place(&keys, &sale, &alice, NOW), NOW);
            for _ in 0..3 {
                now = now.plus(PLACE_MS_MAX);
                assert_eq!(of(&place, now), Some(turn));
                assert_eq!(of(&place, now.plus(1)), None, "nobody was here for so long");
                place = turn.place(&keys, &sale, &alice, now);
            }
            // A gateway whose clock is behind takes it too.
            assert_eq!(of(&place, NOW), Some(turn));
        }
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
