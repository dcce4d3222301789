//! One buyer's visit, from the gate to the payment.

use std::sync::atomic::Ordering;
use std::time::Duration;

use contract::api::{Gate, PaymentStarted, TicketIssued};
use goose::goose::{GooseMethod, GooseUser, TransactionResult};
use tokio::time::Instant;

use super::ask::{Ask, Asked, Stepped, beside, other, persist};
use super::stage::Stage;
use crate::http::{Reply, body};
use crate::journal::Entry;
use crate::random::Random;
use crate::tally::{Kind, Series};

/// How long a buyer retries, at each step of the way.
const PATIENCE_S: u64 = 30;
/// How long a buyer stands at a gate that does not open.
const GATE_WAIT_S_MAX: u64 = 120;
/// Bounds of the pause between two looks at the gate.
const GATE_PAUSE_MS: (u64, u64) = (50, 1000);
/// Pause between two looks at a queued order.
const FOLLOW_PAUSE_MS: u64 = 250;

/// How a buyer goes about one purchase.
#[derive(Clone, Copy)]
struct Visit {
    /// Clicks twice.
    double: bool,
    /// Their first: a refusal of a further one says nothing about the demand.
    first: bool,
}

/// A buyer on their way.
struct Buyer<'s> {
    stage: &'s Stage,
    name: String,
    token: String,
    buy: String,
}

fn patience() -> Instant {
    Instant::now() + Duration::from_secs(PATIENCE_S)
}

/// Plays the next buyer, if there is one.
pub(super) async fn visit(user: &mut GooseUser, stage: &Stage) -> TransactionResult {
    let Some((name, mut chance)) = stage.next_buyer() else { return Ok(()) };
    let Some(token) = sign_in(user, stage, &name).await? else { return Ok(()) };
    let Some(buy) = wait_at_gate(user, stage, &token).await? else { return Ok(()) };
    stage.began_to_buy();
    let buyer = Buyer { stage, name, token, buy };
    let double = chance.percent(stage.args.double_click_percent);
    let again = chance.percent(stage.args.second_ticket_percent);
    let visit = Visit { double, first: true };
    if let Some(order) = buyer.purchase(user, visit).await? {
        buyer.after(user, &order, &mut chance).await?;
    }
    if again {
        buyer.purchase(user, Visit { double: false, first: false }).await?;
    }
    Ok(())
}

async fn sign_in(user: &mut GooseUser, stage: &Stage, name: &str) -> Asked<Option<String>> {
    if let Some(mint) = &stage.platform.mint {
        return Ok(Some(mint.token(name)));
    }
    let login = format!(r#"{{"user":"{name}"}}"#);
    let request = Ask::post("login", "/api/v1/demo/login", "", &login);
    let give_up = Instant::now() + Duration::from_secs(GATE_WAIT_S_MAX);
    let reply = other(user, stage, &request, give_up).await?;
    Ok(reply.and_then(|reply| body::text(&reply.body, "token")))
}

/// The buy path, once there is one. A gate that says "sold out" shows it too: the crowd clicks anyway.
async fn wait_at_gate(user: &mut GooseUser, stage: &Stage, token: &str) -> Asked<Option<String>> {
    let path = format!("/api/v1/sales/{}/gate", stage.sale);
    let give_up = Instant::now() + Duration::from_secs(GATE_WAIT_S_MAX);
    while Instant::now() < give_up {
        let request = Ask::get("gate", &path, token);
        let reply = other(user, stage, &request, give_up).await?;
        let Some(gate) = reply.and_then(|reply| reply.ok::<Gate>()) else { return Ok(None) };
        if let ("open" | "sold_out", Some(buy)) = (gate.state.as_str(), gate.buy) {
            return Ok(Some(buy));
        }
        let left_ms = u64::try_from(gate.opens_at - gate.now).unwrap_or(0);
        let pause_ms = left_ms.clamp(GATE_PAUSE_MS.0, GATE_PAUSE_MS.1);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
    Ok(None)
}

impl Buyer<'_> {
    /// A ticket and an order with it; the order id when it was accepted.
    async fn purchase(&self, user: &mut GooseUser, visit: Visit) -> Asked<Option<String>> {
        let (stage, clicked) = (self.stage, Instant::now());
        let path = format!("{}/tickets", self.buy);
        let request = Ask::post("ticket", &path, &self.token, "");
        let meaning = |reply: &Reply| Kind::of_purchase(200, reply.status, &reply.body);
        let (reply, kind, _) = persist(user, stage, &request, meaning, patience()).await?;
        if kind == Kind::SoldOut {
            stage.tally.time(Series::Refusal, clicked.elapsed());
            stage.tally.demanded(u32::from(visit.first));
        }
        if kind != Kind::Ticket {
            return Ok(None);
        }
        stage.tally.time(Series::Ticket, clicked.elapsed());
        let Some(issued) = reply.and_then(|reply| reply.ok::<TicketIssued>()) else {
            stage.tally.count(Kind::Wrong);
            return Ok(None);
        };
        self.order(user, &issued, visit, clicked).await
    }

    async fn order(
        &self,
        user: &mut GooseUser,
        issued: &TicketIssued,
        visit: Visit,
        clicked: Instant,
    ) -> Asked<Option<String>> {
        let (stage, sent) = (self.stage, Instant::now());
        let path = format!("{}/orders", self.buy);
        let order = format!(r#"{{"ticket":"{}","quantity":1}}"#, issued.ticket);
        let request = Ask::post("order", &path, &self.token, &order);
        let meaning = |reply: &Reply| Kind::of_purchase(202, reply.status, &reply.body);
        let (reply, kind, unclear) = if visit.double {
            let second = beside(user, &request)?;
            let (first, second) = tokio::join!(persist(user, stage, &request, meaning, patience()), second);
            self.both_clicks(first?, second, issued)
        } else {
            persist(user, stage, &request, meaning, patience()).await?
        };
        if unclear && kind != Kind::Accepted {
            stage.tally.unknown(1);
        }
        match kind {
            Kind::Accepted => {
                stage.tally.time(Series::Order, sent.elapsed());
                stage.tally.time(Series::Click, clicked.elapsed());
                stage.tally.demanded(1);
                let answer = reply.map(|r| r.body).unwrap_or_default();
                let order = body::text(&answer, "order_id").unwrap_or_default();
                self.promised(&order, issued, body::is_refused(&answer));
                return Ok(Some(order));
            }
            Kind::SoldOut | Kind::NotEnough => {
                stage.tally.time(Series::Refusal, sent.elapsed());
                stage.tally.demanded(u32::from(visit.first));
            }
            _ => {}
        }
        Ok(None)
    }

    fn promised(&self, order: &str, issued: &TicketIssued, refused: bool) {
        if *order != issued.order_id.to_string() {
            self.stage.tally.count(Kind::Wrong);
        }
        self.stage.journal.add(Entry {
            order: order.into(),
            buyer: self.name.as_str().into(),
            quantity: 1,
            ticket: issued.ticket.as_str().into(),
            refused,
        });
    }

    /// The other of two clicks may win or lose in any way, but it never makes another order: a
    /// different id goes into the journal, and the verdict finds two orders on one ticket. It may also
    /// be the one that is accepted, when a unit came back between the two.
    fn both_clicks(&self, first: Stepped, second: Option<Reply>, issued: &TicketIssued) -> Stepped {
        let Some(second) = second else { return first };
        let kind = Kind::of_purchase(202, second.status, &second.body);
        if kind == Kind::Accepted && first.1 != Kind::Accepted {
            self.stage.tally.count(kind);
            return (Some(second), kind, false);
        }
        self.stage.tally.count(if kind == Kind::Accepted { Kind::Again } else { kind });
        if kind == Kind::Accepted {
            let order = body::text(&second.body, "order_id").unwrap_or_default();
            if order != issued.order_id.to_string() {
                self.promised(&order, issued, body::is_refused(&second.body));
            }
        }
        first
    }

    /// Follows the order until it is decided, then pays, cancels, or leaves.
    async fn after(&self, user: &mut GooseUser, order: &str, chance: &mut Random) -> Asked<()> {
        let (stage, path) = (self.stage, format!("/api/v1/orders/{order}"));
        let give_up = patience();
        loop {
            let request = Ask::get("status", &path, &self.token);
            let Some(reply) = other(user, stage, &request, give_up).await? else { return Ok(()) };
            match body::text(&reply.body, "status").as_deref() {
                Some("queued") if Instant::now() < give_up => {}
                Some("pending_payment") => break,
                _ => return Ok(()),
            }
            tokio::time::sleep(Duration::from_millis(FOLLOW_PAUSE_MS)).await;
        }
        if chance.percent(stage.args.pay_percent) {
            self.pay(user, &path, give_up).await
        } else if chance.percent(stage.args.cancel_percent) {
            let path = format!("{path}/cancel");
            let request = Ask::post("cancel", &path, &self.token, "");
            let reply = other(user, stage, &request, give_up).await?;
            let done = u64::from(reply.is_some_and(|reply| reply.status == 200));
            stage.done.cancelled.fetch_add(done, Ordering::Relaxed);
            Ok(())
        } else {
            Ok(())
        }
    }

    /// Presses "succeed" on the sandbox's pay page. A platform with another provider has no such page:
    /// then the order simply stays unpaid.
    async fn pay(&self, user: &mut GooseUser, order: &str, give_up: Instant) -> Asked<()> {
        let path = format!("{order}/payment");
        let request = Ask::post("payment", &path, &self.token, "");
        let reply = other(user, self.stage, &request, give_up).await?;
        let Some(started) = reply.and_then(|reply| reply.ok::<PaymentStarted>()) else { return Ok(()) };
        let request = Ask {
            name: "pay page",
            method: GooseMethod::Post,
            path: &started.payment_url,
            token: "",
            body: ("action=succeed", "application/x-www-form-urlencoded"),
        };
        let reply = other(user, self.stage, &request, give_up).await?;
        let done = u64::from(reply.is_some_and(|reply| (200..400).contains(&reply.status)));
        self.stage.done.paid.fetch_add(done, Ordering::Relaxed);
        Ok(())
    }
}
