//! `POST {buy}/tickets`.

use contract::Code;
use contract::api::TicketIssued;
use domain::OrderId;
use service_kit::http::Incoming;

use super::answer::{Answer, Refusal};
use super::{Caller, body};
use crate::gateway::Gateway;
use crate::sale::Sale;
use crate::tickets::Claims;

/// Issues a ticket: a new one each time, bound to its buyer and to the sale's stock state.
pub(super) async fn issue(
    gateway: &Gateway,
    sale: &Sale,
    caller: &Caller<'_>,
    body: Incoming,
) -> Result<Answer, Answer> {
    if body::announces_too_much(caller.headers) {
        return Err(Refusal::new(Code::TooLarge).into());
    }
    if sale.is_sold_out() {
        return Err(Refusal::new(Code::SoldOut).into());
    }
    // Boxed: a refusal needs no room for what a ticket needs.
    Box::pin(issue_new(gateway, sale, caller, body)).await
}

async fn issue_new(
    gateway: &Gateway,
    sale: &Sale,
    caller: &Caller<'_>,
    body: Incoming,
) -> Result<Answer, Answer> {
    let view = gateway.view(sale).await?;
    if let Some(refusal) = Refusal::of_state(view.state()) {
        return Err(refusal.into());
    }
    let buyer = gateway.identify(caller)?;
    gateway.check_buyer_limit(caller, sale, &buyer)?;
    gateway.check_high_water(sale)?;
    let solved = gateway.check_entry(caller, sale, &buyer, body).await?;
    gateway.check_sale_limit(caller, sale)?;
    // A proof is good once: whatever else could refuse comes first.
    gateway.spend_proof(caller, sale, &buyer, solved)?;
    let claims = Claims {
        order: OrderId::mint(view.now, random().map_err(|error| caller.internal(error))?),
        sale: sale.id.clone(),
        buyer,
        epoch: view.epoch,
        expires_at: view.now.plus(gateway.ticket_ttl_ms),
    };
    let ticket = claims.sign(&gateway.ticket_keys);
    Ok(Answer::Issued(TicketIssued { ticket, order_id: claims.order, expires_at: claims.expires_at.0 }))
}

fn random() -> Result<[u8; 10], getrandom::Error> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
