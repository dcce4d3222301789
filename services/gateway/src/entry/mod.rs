//! What a sale may ask of a buyer before a ticket: a pass from its waiting room, a proof of work, a
//! captcha's answer. Each by the sale's own rules; a sale without rules asks nothing.

mod captcha;
mod proof;
pub(crate) mod room;

pub use captcha::{Captcha, Digits};
pub(crate) use proof::{Crowd, Proofs, Solved};

use proof::Asker;

use axum::body::HttpBody;
use contract::Code;
use contract::api::TicketRequest;
use contract::rules::SaleRules;
use domain::BuyerId;
use service_kit::http::{ApiError, Incoming, parse_json, require_json};

use crate::gateway::Gateway;
use crate::purchase::{Answer, Caller, Refusal, body};
use crate::sale::Sale;

/// Whether these rules ask anything of whoever wants a ticket.
#[must_use]
fn ask_anything(rules: &SaleRules) -> bool {
    rules.proof_bits.is_some() || rules.captcha || rules.waiting_room.is_some()
}

impl Gateway {
    /// Lets a buyer through to the tickets, if it has brought what the sale asks for. A proof among it is left to be
    /// spent with [`Gateway::spend_proof`].
    ///
    /// # Errors
    /// 403 with what is to be brought, or what is wrong with the body.
    pub(crate) async fn check_entry(
        &self,
        caller: &Caller<'_>,
        sale: &Sale,
        buyer: &BuyerId,
        body: Incoming,
    ) -> Result<Option<Solved>, Answer> {
        let rules = sale.terms().sale.rules.clone();
        if !ask_anything(&rules) {
            // What is there must be well-formed all the same.
            if !body.is_end_stream() {
                Box::pin(self.brought(caller, body)).await?;
            }
            return Ok(None);
        }
        let brought = Box::pin(self.brought(caller, body)).await?;
        if rules.waiting_room.is_some() {
            let pass = brought.pass.as_deref().unwrap_or_default();
            if !room::is_let_in(self, sale, buyer, pass) {
                return Err(Refusal::new(Code::WaitingRoom).into());
            }
        }
        if rules.proof_bits.is_none() && !rules.captcha {
            return Ok(None);
        }
        let asker = Asker { caller, sale, rules: &rules, buyer, now: self.clock.now() };
        self.proofs.judge(&asker, brought.proof.as_ref()).await.map(Some)
    }

    /// Spends the proof that a buyer was let through with, if it was one.
    ///
    /// # Errors
    /// 403 with a new challenge, if it was spent meanwhile.
    pub(crate) fn spend_proof(
        &self,
        caller: &Caller<'_>,
        sale: &Sale,
        buyer: &BuyerId,
        solved: Option<Solved>,
    ) -> Result<(), Answer> {
        let Some(solved) = solved else { return Ok(()) };
        let terms = sale.terms();
        let asker = Asker { caller, sale, rules: &terms.sale.rules, buyer, now: self.clock.now() };
        self.proofs.spend(&asker, solved)
    }

    async fn brought(&self, caller: &Caller<'_>, body: Incoming) -> Result<TicketRequest, ApiError> {
        let text = body::read(caller.headers, body, self.limits.body_timeout).await?;
        if text.is_empty() {
            return Ok(TicketRequest::default());
        }
        require_json(caller.headers)?;
        Ok(parse_json::<Option<TicketRequest>>(&text)?.unwrap_or_default())
    }
}
