//! `/api/v1/sales/{sale}/waiting-room`: a place in the line, and how it moves.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::response::sse::Event;
use contract::Code;
use contract::api::{TakePlace, WaitingPlace, WaitingRoom};
use contract::rules::RoomRules;
use domain::{BuyerId, SaleState, UnixMillis};
use futures_util::stream;
use service_kit::http::{ApiError, StrictJson};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::{Buyer, Segment, Shared, event_stream};
use crate::entry::room::{self, RENEW_MS, Standing, Turn};
use crate::gateway::Gateway;
use crate::limits::buyer_key;
use crate::purchase::json;
use crate::sale::Sale;
use crate::shares::Share;

/// Between two looks of a stream that nothing woke.
const LOOK_EVERY_MS: u64 = 1000;

fn sale_of(gateway: &Gateway, sale: &str) -> Result<Arc<Sale>, ApiError> {
    gateway.catalogue.by_id(sale).ok_or_else(|| super::sales::no_such_sale(gateway))
}

/// The sale's rule, as it is now: it may be changed, and taken back, while buyers wait.
fn rules_of(sale: &Sale) -> Option<RoomRules> {
    sale.terms().sale.rules.waiting_room
}

fn no_room() -> ApiError {
    ApiError::new(Code::NotFound, "This sale has no waiting room.")
}

async fn state_of(gateway: &Gateway, sale: &Sale) -> Result<SaleState, ApiError> {
    if sale.is_sold_out() {
        return Ok(SaleState::SoldOut);
    }
    let unavailable = |_| ApiError::new(Code::Unavailable, "The stock store does not answer right now.");
    gateway.view(sale).await.map(|view| view.state()).map_err(unavailable)
}

/// `GET /api/v1/sales/{sale}/waiting-room`: how the draw is made, before it is made and after.
pub(super) async fn show(State(gateway): Shared, Segment(sale): Segment) -> Result<Response, ApiError> {
    let sale = sale_of(&gateway, &sale)?;
    let rules = rules_of(&sale).ok_or_else(no_room)?;
    let seed = room::seed(&sale.terms().sale.slug);
    let has_opened = state_of(&gateway, &sale).await? != SaleState::Upcoming;
    let room = WaitingRoom {
        commitment: hex::encode(Sha256::digest(seed)),
        seed: has_opened.then(|| hex::encode(seed)),
        waiting: u32::try_from(sale.room.waiting()).unwrap_or(u32::MAX),
        admit_per_s: rules.admit_per_s,
    };
    Ok(json(StatusCode::OK, &room))
}

/// The turn that a place gives back.
fn held(gateway: &Gateway, sale: &Sale, buyer: &BuyerId, place: &str) -> Option<Turn> {
    let terms = sale.terms();
    let sale = (&sale.id, terms.sale.slug.as_str());
    Turn::of_place(&gateway.ticket_keys, sale, buyer, place, gateway.clock.now())
}

/// `POST /api/v1/sales/{sale}/waiting-room`: takes a place, or gives back the one that was taken, and renews it.
pub(super) async fn enter(
    State(gateway): Shared,
    Buyer(buyer): Buyer,
    Segment(sale): Segment,
    StrictJson(asked): StrictJson<TakePlace>,
) -> Result<Response, ApiError> {
    let sale = sale_of(&gateway, &sale)?;
    let rules = rules_of(&sale);
    let held = asked.place.as_deref().and_then(|place| held(&gateway, &sale, &buyer, place));
    if rules.is_none() && held.is_none() {
        return Err(no_room());
    }
    let state = state_of(&gateway, &sale).await?;
    if state == SaleState::Ended {
        return Err(ApiError::new(Code::Ended, "Nothing more is sold here."));
    }
    let now = gateway.clock.now();
    let has_opened = state != SaleState::Upcoming;
    let mut turn = held.unwrap_or_else(|| Turn::arriving(&sale, &buyer, has_opened, now));
    if let Some(rules) = rules {
        turn = sale.room.enter(turn, rules, now).map_err(|full| {
            ApiError::new(Code::Overloaded, "The waiting room is full.")
                .retry_after(full.retry_after_s.into())
        })?;
    }
    let shown = shown(&gateway, &sale, rules, &buyer, state);
    // Who is let in has had their turn: another one begins at the end of the line.
    let place = shown.pass.is_none().then(|| turn.place(&gateway.ticket_keys, &sale.id, &buyer, now));
    Ok(json(StatusCode::OK, &WaitingPlace { place, ..shown }))
}

/// Where a buyer stands, as told. Where the rule was taken back, everybody who waited is let in: their pages then go on
/// to buy, also at a gateway that has not heard of it yet.
fn shown(
    gateway: &Gateway,
    sale: &Sale,
    rules: Option<RoomRules>,
    buyer: &BuyerId,
    state: SaleState,
) -> WaitingPlace {
    let has_opened = state != SaleState::Upcoming;
    let mut told = WaitingPlace { state: state.as_str().to_owned(), ..WaitingPlace::default() };
    let standing = |_| sale.room.standing(buyer_key(buyer), has_opened, gateway.clock.now());
    match (rules, rules.map_or(Standing::LetIn, standing)) {
        (Some(rules), Standing::Waiting(position)) => {
            told.position = position;
            told.wait_s = position.map(|position| position.div_ceil(rules.admit_per_s));
        }
        (Some(_), Standing::Unknown) => told.is_lost = true,
        (_, Standing::LetIn) | (None, _) => {
            let (pass, ends) = room::pass(gateway, sale, buyer);
            (told.pass, told.pass_ends_at) = (Some(pass), Some(ends.0));
        }
    }
    told
}

struct Watcher {
    gateway: Arc<Gateway>,
    sale: Arc<Sale>,
    buyer: BuyerId,
    /// Rung when the buyer is let in.
    bell: Arc<Notify>,
    /// What was told last, but for the signed place.
    told: Option<WaitingPlace>,
    /// When the place was signed that was told last.
    renewed: Option<UnixMillis>,
    is_over: bool,
    _held: (Share, OwnedSemaphorePermit),
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.sale.room.unwatch(buyer_key(&self.buyer), self.gateway.clock.now());
    }
}

/// `GET /api/v1/sales/{sale}/waiting-room/events`
pub(super) async fn stream(
    State(gateway): Shared,
    Buyer(buyer): Buyer,
    Segment(sale): Segment,
) -> Result<Response, ApiError> {
    let sale = sale_of(&gateway, &sale)?;
    rules_of(&sale).ok_or_else(no_room)?;
    let share = gateway.stream_shares.take(&buyer)?;
    let stream = gateway.room_streams.clone().try_acquire_owned();
    let stream =
        stream.map_err(|_| ApiError::new(Code::Overloaded, "Too many streams are open: poll instead."))?;
    let bell = sale.room.watch(buyer_key(&buyer), gateway.clock.now());
    let (told, renewed, is_over) = (None, None, false);
    let watcher = Watcher { gateway, sale, buyer, bell, told, renewed, is_over, _held: (share, stream) };
    let events = stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next_event().await?;
        Some((Ok::<_, Infallible>(event), watcher))
    });
    Ok(event_stream::answer(events))
}

impl Watcher {
    /// The next news; `None` once the buyer is let in, lost, or the sale is over.
    async fn next_event(&mut self) -> Option<Event> {
        while !self.is_over {
            // Enlisted before looking, or news could fall in between.
            let (all, own) = (self.sale.room.bell.clone(), self.bell.clone());
            let (all, own) = (all.notified_owned(), own.notified_owned());
            if let Some(event) = self.look().await {
                return Some(event);
            }
            tokio::select! {
                () = all => {}
                () = own => {}
                () = tokio::time::sleep(Duration::from_millis(LOOK_EVERY_MS)) => {}
                () = self.gateway.stopping.cancelled() => return None,
            }
        }
        None
    }

    async fn look(&mut self) -> Option<Event> {
        let state = state_of(&self.gateway, &self.sale).await.ok()?;
        let now = shown(&self.gateway, &self.sale, rules_of(&self.sale), &self.buyer, state);
        let place = if now.pass.is_none() { self.renewed_place() } else { None };
        if place.is_none() && self.told.as_ref() == Some(&now) {
            return None;
        }
        self.is_over = now.pass.is_some() || now.is_lost || state == SaleState::Ended;
        let name = match (&now.pass, now.is_lost) {
            (Some(_), _) => "let_in",
            (None, true) => "lost",
            (None, false) => "place",
        };
        self.told = Some(now.clone());
        Event::default().event(name).json_data(&WaitingPlace { place, ..now }).ok()
    }

    /// The place, signed anew if the one told last is getting old: whoever listens must have one that is good, should
    /// this gateway end.
    fn renewed_place(&mut self) -> Option<String> {
        let now = self.gateway.clock.now();
        let is_young = |renewed: UnixMillis| (0..RENEW_MS).contains(&now.since(renewed));
        if self.renewed.is_some_and(is_young) {
            return None;
        }
        let turn = self.sale.room.turn(buyer_key(&self.buyer))?;
        self.renewed = Some(now);
        Some(turn.place(&self.gateway.ticket_keys, &self.sale.id, &self.buyer, now))
    }
}
