//! One buyer after another on one connection: a ticket, an order, and the contract's retries.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::crowd::Crowd;
use super::pace::Pace;
use crate::http::{Connection, body, retry_wait};
use crate::journal::Entry;
use crate::tally::{Kind, Series};

/// Pause after a connection broke, so that a platform that restarts is not hammered.
const BROKEN_PAUSE_MS: u64 = 50;
/// Times a buyer takes what is left instead of what they wanted.
const SETTLE_FOR_LESS_MAX: u32 = 3;

/// Plays buyers until none arrive.
pub(super) async fn play_all(crowd: Arc<Crowd>, pace: Arc<Pace>) {
    let connection = Connection::new(crowd.target.clone());
    let mut player = Player { crowd: &crowd, connection, request: Vec::with_capacity(1024) };
    while let Some((visitor, intended)) = pace.next().await {
        player.play(visitor, intended).await;
    }
}

struct Player<'c> {
    crowd: &'c Crowd,
    connection: Connection,
    request: Vec<u8>,
}

/// How a step ended.
struct Ended {
    /// The last answer.
    kind: Kind,
    /// An earlier or the last try may have had its effect without saying so.
    unclear: bool,
}

impl Player<'_> {
    async fn play(&mut self, visitor: u64, intended: Instant) {
        let crowd = self.crowd;
        let index = crowd.who(visitor);
        let buyer = crowd.name(index);
        let token = crowd.token(index, &buyer);
        let want = crowd.quantity(index);
        let give_up = Instant::now() + crowd.patience;

        crowd.write_ticket(&mut self.request, &token);
        let ended = self.persist(200, give_up).await;
        if ended.kind != Kind::Ticket {
            if ended.kind == Kind::SoldOut {
                crowd.tally.demanded(want);
            }
            return;
        }
        crowd.tally.time(Series::Ticket, intended.elapsed());
        let answer = self.connection.body();
        let (Some(ticket), Some(order)) = (body::text(answer, "ticket"), body::text(answer, "order_id"))
        else {
            crowd.tally.count(Kind::Wrong);
            return;
        };
        let (order, buyer, ticket) = (order.into(), buyer.into(), ticket.into());
        let entry = Entry { order, buyer, quantity: want, ticket, refused: false };
        self.place(entry, &token, intended, give_up).await;
    }

    /// Orders with a ticket: what was wanted, or as much of it as there is.
    async fn place(&mut self, mut entry: Entry, token: &str, intended: Instant, give_up: Instant) {
        let crowd = self.crowd;
        let (want, begun) = (entry.quantity, Instant::now());
        for _ in 0..=SETTLE_FOR_LESS_MAX {
            crowd.write_order(&mut self.request, token, &entry.ticket, entry.quantity);
            let ended = self.persist(202, give_up).await;
            if ended.unclear && ended.kind != Kind::Accepted {
                crowd.tally.unknown(entry.quantity);
            }
            match ended.kind {
                Kind::Accepted => {
                    crowd.tally.time(Series::Order, begun.elapsed());
                    crowd.tally.time(Series::Click, intended.elapsed());
                    crowd.tally.demanded(want);
                    self.promised(entry);
                    return;
                }
                Kind::NotEnough => {
                    let left = body::available(self.connection.body()).unwrap_or(0);
                    if left == 0 || left >= entry.quantity {
                        crowd.tally.count(Kind::Wrong);
                        break;
                    }
                    entry.quantity = left;
                }
                Kind::SoldOut => break,
                _ => return,
            }
        }
        crowd.tally.demanded(want);
    }

    /// A 202 arrived: it goes into the journal whatever it says.
    fn promised(&self, mut entry: Entry) {
        let order = body::text(self.connection.body(), "order_id");
        if order.as_deref() != Some(&*entry.order) {
            self.crowd.tally.count(Kind::Wrong);
            entry.order = order.unwrap_or_default().into();
        }
        entry.refused = body::is_refused(self.connection.body());
        self.crowd.journal.add(entry);
    }

    /// Sends the request until it is answered with something else than "try again".
    async fn persist(&mut self, success: u16, give_up: Instant) -> Ended {
        let (mut unclear, mut is_first) = (false, true);
        loop {
            let sent = Instant::now();
            let answer = self.connection.exchange(&self.request).await;
            let (kind, pause) = match answer {
                Ok(answer) => {
                    let kind = Kind::of_purchase(success, answer.status, self.connection.body());
                    let kind = if is_first { kind.at_once() } else { kind };
                    self.crowd.tally.explain(kind, answer.status, self.connection.body());
                    (kind, retry_wait(answer.retry_after_s))
                }
                Err(_) => (Kind::Broken, Duration::from_millis(BROKEN_PAUSE_MS)),
            };
            self.crowd.tally.count(kind);
            if !kind.is_retry() {
                if !matches!(kind, Kind::Ticket | Kind::Accepted) {
                    self.crowd.tally.time(Series::Refusal, sent.elapsed());
                }
                return Ended { kind, unclear };
            }
            is_first = false;
            // A 429 is refused before anything is set aside; the others may have held a unit.
            unclear |= kind != Kind::Limited;
            if Instant::now() + pause > give_up {
                return Ended { kind, unclear };
            }
            tokio::time::sleep(pause).await;
        }
    }
}
