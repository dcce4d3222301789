//! `POST {buy}/orders`: the filters, one after another.

use contract::Code;
use contract::api::PlaceOrder;
use domain::{BuyerId, SaleState, UnixMillis};
use service_kit::http::{ApiError, Incoming, at_work, parse_json, require_json};

use super::accepted::Known;
use super::answer::{Answer, Refusal};
use super::reserve_and_publish::Purchase;
use super::single_flight::Role;
use super::{Caller, body};
use crate::gateway::Gateway;
use crate::limits::Standing;
use crate::sale::Sale;
use crate::tickets::{Claims, Presented};

/// What a flight brings to all who share it.
#[derive(Clone)]
pub(crate) struct Landed {
    quantity: i64,
    answer: Answer,
    /// Where its buyer stood with the limit that was counted.
    standing: Option<Standing>,
}

/// How often a request takes another look at its ticket's flight before it is told to come back.
const JOINS_MAX: usize = 3;

/// Places an order.
pub(super) async fn place(
    gateway: &Gateway,
    sale: &Sale,
    caller: &Caller<'_>,
    body: Incoming,
) -> Result<Answer, Answer> {
    let wish = wish(gateway, caller, body).await?;
    let presented = Presented::parse(&wish.ticket).ok();
    let request = Request { gateway, sale, caller, presented, quantity: wish.quantity };
    let is_under_way = request.is_under_way();
    if !is_under_way {
        request.check_flag()?;
    }
    // Boxed: a refusal needs no room for what a purchase needs.
    Box::pin(request.answer(is_under_way)).await
}

async fn wish(gateway: &Gateway, caller: &Caller<'_>, body: Incoming) -> Result<PlaceOrder, ApiError> {
    require_json(caller.headers)?;
    let body = body::read(caller.headers, body, gateway.limits.body_timeout).await?;
    parse_json(&body)
}

struct Request<'a> {
    gateway: &'a Gateway,
    sale: &'a Sale,
    caller: &'a Caller<'a>,
    presented: Option<Presented>,
    quantity: i64,
}

impl Request<'_> {
    async fn answer(self, is_under_way: bool) -> Result<Answer, Answer> {
        if is_under_way {
            if let Some(answer) = self.again().await? {
                return Ok(answer);
            }
            self.check_flag()?;
        }
        self.afresh().await
    }

    /// Whether this gateway has accepted the ticket, or works on it right now.
    fn is_under_way(&self) -> bool {
        self.confirmed().is_some()
            || self.presented.as_ref().is_some_and(|ticket| self.gateway.flights.has(ticket.order()))
    }

    fn known(&self) -> Option<Known> {
        self.gateway.accepted.get(self.presented.as_ref()?.order())
    }

    fn confirmed(&self) -> Option<Known> {
        self.known().filter(|known| known.confirmed)
    }

    /// The same answer as before, whatever the sale's state and however many ask; only who asks is checked.
    /// It reserves and publishes nothing, and its order is looked at once at a time for all who ask, so it passes no
    /// limits: `None` if there is work to do after all.
    async fn again(&self) -> Result<Option<Answer>, Answer> {
        let buyer = self.gateway.identify(self.caller)?;
        let claims = self.believe(&buyer)?;
        if self.confirmed().is_none()
            && let Some(flight) = self.gateway.flights.follow(claims.order)
            && let Some(answer) = self.answer_of(flight.result().await)
        {
            return Ok(Some(answer));
        }
        match self.confirmed() {
            Some(known) => self.present(&claims, known).await.map(Some),
            None => Ok(None),
        }
    }

    /// Refuses what finds the sale sold out.
    fn check_flag(&self) -> Result<(), Refusal> {
        // A place held since an unconfirmed publish is worth more than what the flag says. So is a ticket that has
        // run out: this gateway may have accepted it and forgotten it since, and it reserves nothing any more.
        let may_have_an_order =
            || self.known().is_some() || self.presented.as_ref().is_some_and(|t| t.has_run_out(self.now()));
        if self.sale.is_sold_out() && !may_have_an_order() {
            return Err(Refusal::new(Code::SoldOut));
        }
        Ok(())
    }

    /// The stock store's time as far as it is known here: tickets end by it.
    fn now(&self) -> UnixMillis {
        self.sale.store_now().unwrap_or_else(|| self.gateway.clock.now())
    }

    async fn afresh(&self) -> Result<Answer, Answer> {
        let (gateway, sale) = (self.gateway, self.sale);
        let view = gateway.view(sale).await?;
        // Sold out is for the store to say: it may hold a place for this very ticket.
        let closed = Some(view.state()).filter(|s| *s != SaleState::SoldOut).and_then(Refusal::of_state);
        let or_closed = |refusal: Refusal| closed.unwrap_or(refusal);
        let buyer = gateway.identify(self.caller).map_err(or_closed)?;
        match self.believe(&buyer) {
            Ok(claims) => self.fly(&claims, closed).await,
            Err(refusal) => {
                // What is no ticket counts as much as one.
                gateway.check_buyer_limit(self.caller, sale, &buyer)?;
                Err(or_closed(refusal).into())
            }
        }
    }

    /// Takes the ticket's flight: as the first, or behind whoever is. Before anything is counted: of many requests with
    /// one ticket at once, the first passes the limits for all of them.
    async fn fly(&self, claims: &Claims, closed: Option<Refusal>) -> Result<Answer, Answer> {
        for _ in 0..JOINS_MAX {
            if let Some(known) = self.confirmed() {
                return self.present(claims, known).await;
            }
            match self.gateway.flights.join(claims.order) {
                Role::Leader(lead) => {
                    // The last flight may have landed between that look and this one's start.
                    if let Some(known) = self.confirmed() {
                        drop(lead);
                        return self.present(claims, known).await;
                    }
                    let answer = self.purchase(claims, closed).await.unwrap_or_else(Answer::from);
                    let standing = self.caller.standing.lock().clone();
                    lead.complete(Landed { quantity: self.quantity, answer: answer.clone(), standing });
                    return Ok(answer);
                }
                Role::Follower(flight) => {
                    if let Some(answer) = self.answer_of(flight.result().await) {
                        return Ok(answer);
                    }
                    // Accepted, it is remembered by now, and the next round compares the quantities.
                }
                Role::Full => break,
            }
        }
        Err(Refusal::new(Code::Overloaded).into())
    }

    /// What a flight has brought, if it was for the same quantity.
    fn answer_of(&self, landed: Option<Landed>) -> Option<Answer> {
        let landed = landed.filter(|landed| landed.quantity == self.quantity)?;
        *self.caller.standing.lock() = landed.standing;
        Some(landed.answer)
    }

    /// The filters that count, and then the work.
    async fn purchase(&self, claims: &Claims, closed: Option<Refusal>) -> Result<Answer, Refusal> {
        let (gateway, sale) = (self.gateway, self.sale);
        gateway.check_buyer_limit(self.caller, sale, &claims.buyer)?;
        let question = gateway.decisions.question(sale, &claims.buyer, claims.order, self.quantity);
        if let Some(refusal) = gateway.decisions.recall(question) {
            return Err(refusal);
        }
        let units = self.units().ok_or(closed.unwrap_or(Refusal::new(Code::InvalidQuantity)))?;
        gateway.check_sale_limit(self.caller, sale)?;
        gateway.check_high_water(sale)?;
        let _share = sale.bulkhead.enter().ok_or(Refusal::new(Code::Overloaded))?;
        let purchase = Purchase::new(gateway, sale, claims, units);
        let answer = at_work(self.caller.id, purchase.reserve_and_publish()).await;
        if let Answer::Refused(refusal) = &answer {
            gateway.decisions.remember(question, *refusal);
        }
        Ok(answer)
    }

    /// The 202 of a ticket that was accepted here.
    async fn present(&self, claims: &Claims, known: Known) -> Result<Answer, Answer> {
        if i64::from(known.quantity) != self.quantity {
            return Err(Refusal::new(Code::TicketMismatch).into());
        }
        let status = self.gateway.accepted_status(&claims.buyer, claims.order);
        let status = at_work(self.caller.id, status).await?;
        Ok(Answer::Accepted { order: claims.order, status })
    }

    /// The quantity, if one buyer may have that many.
    fn units(&self) -> Option<u32> {
        let limit = self.sale.terms().sale.sale.per_user_limit;
        u32::try_from(self.quantity).ok().filter(|n| (1..=limit).contains(n))
    }

    /// The ticket's claims, if it is genuine, this buyer's and this sale's. Whether its time is over is
    /// for the store to say, which knows the ticket's order first.
    fn believe(&self, buyer: &BuyerId) -> Result<Claims, Refusal> {
        let refusal = Refusal::new(Code::InvalidTicket);
        let ticket = self.presented.as_ref().ok_or(refusal)?;
        let claims = ticket.verify(&self.gateway.ticket_keys).map_err(|_| refusal)?;
        let is_theirs = claims.buyer == *buyer && claims.sale == self.sale.id;
        if is_theirs { Ok(claims) } else { Err(refusal) }
    }
}
