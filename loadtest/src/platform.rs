//! The platform's routes, as the load test calls them when it is not in a hurry.

use std::time::Duration;

use contract::api::{AdminOrder, AdminSale, Audit, Gate, Ledger, NewSale, Order, TicketIssued};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::http::{Broken, Call, Reply, Session, Target};
use crate::secret::TokenMint;

/// Longest time spent on one answer, retries included: a platform may be restarting.
const PATIENCE_S_MAX: u64 = 30;

/// Longest wait for an audit, which reads the whole ledger: what the services grant each other, and the way.
const AUDIT_WAIT: Duration = Duration::from_millis(contract::internal::AUDIT_MS_MAX + 10_000);

/// Why the load test cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlatformError {
    /// No answer.
    #[error("{what}: {why}")]
    Broken {
        /// What was asked.
        what: String,
        /// What happened.
        #[source]
        why: Broken,
    },
    /// An answer that does not help.
    #[error("{what}: {answer}")]
    Answer {
        /// What was asked.
        what: String,
        /// The answer.
        answer: String,
    },
}

/// Where the platform is and how to be someone there.
#[derive(Clone, Debug)]
pub(crate) struct Platform {
    /// The buyers' listener.
    pub(crate) public: Target,
    /// The operators' listener.
    pub(crate) admin: Target,
    /// The operators' token.
    pub(crate) admin_token: String,
    /// Mints the buyers' tokens; without it they log in as in the demo.
    pub(crate) mint: Option<TokenMint>,
}

impl Platform {
    /// A session with the operators' listener.
    pub(crate) fn operator(&self) -> Operator<'_> {
        Operator { session: Session::new(self.admin.clone()), token: &self.admin_token }
    }

    /// A session with the buyers' listener.
    pub(crate) fn shopper(&self) -> Shopper {
        Shopper { session: Session::new(self.public.clone()), mint: self.mint.clone() }
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(PATIENCE_S_MAX)
}

async fn json<T: DeserializeOwned>(session: &mut Session, call: &Call<'_>) -> Result<T, PlatformError> {
    let what = || format!("{} {}", call.method, call.path);
    let reply = session
        .ask_until(call, deadline())
        .await
        .map_err(|why| PlatformError::Broken { what: what(), why })?;
    reply.ok().ok_or_else(|| PlatformError::Answer { what: what(), answer: reply.shown() })
}

/// An operator's session.
#[derive(Debug)]
pub(crate) struct Operator<'p> {
    session: Session,
    token: &'p str,
}

impl Operator<'_> {
    /// Creates a sale; the key makes a retry harmless.
    ///
    /// # Errors
    /// When the platform does not.
    pub(crate) async fn create(&mut self, sale: &NewSale, key: &str) -> Result<AdminSale, PlatformError> {
        let body = serde_json::to_string(sale).unwrap_or_default();
        let call =
            Call { header: ("idempotency-key", key), ..Call::post("/admin/v1/sales", self.token, &body) };
        json(&mut self.session, &call).await
    }

    /// The sale as operators see it.
    ///
    /// # Errors
    /// When the platform does not tell.
    pub(crate) async fn sale(&mut self, sale: &str) -> Result<AdminSale, PlatformError> {
        self.get(&format!("/admin/v1/sales/{sale}")).await
    }

    /// The sale's ledger.
    ///
    /// # Errors
    /// When the platform does not tell.
    pub(crate) async fn ledger(&mut self, sale: &str) -> Result<Ledger, PlatformError> {
        self.get(&format!("/admin/v1/sales/{sale}/ledger")).await
    }

    /// The audit.
    ///
    /// # Errors
    /// When the platform does not tell.
    pub(crate) async fn audit(&mut self) -> Result<Audit, PlatformError> {
        let mut patient = self.session.patient(AUDIT_WAIT);
        json(&mut patient, &Call::get("/admin/v1/audit", self.token)).await
    }

    /// An order with its payments and refunds.
    ///
    /// # Errors
    /// When the platform does not tell.
    pub(crate) async fn order(&mut self, order: &str) -> Result<AdminOrder, PlatformError> {
        self.get(&format!("/admin/v1/orders/{order}")).await
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, PlatformError> {
        json(&mut self.session, &Call::get(path, self.token)).await
    }
}

/// What became of a placed order.
#[derive(Debug)]
pub(crate) enum Placed {
    /// Accepted under this order id.
    Accepted(String),
    /// Refused, or no telling answer within the patience.
    Not(Reply),
}

/// A buyer's session; any buyer may use it.
#[derive(Debug)]
pub(crate) struct Shopper {
    session: Session,
    mint: Option<TokenMint>,
}

impl Shopper {
    /// A bearer token for this buyer.
    ///
    /// # Errors
    /// When tokens cannot be minted here and the demo login gives none.
    pub(crate) async fn token(&mut self, buyer: &str) -> Result<String, PlatformError> {
        if let Some(mint) = &self.mint {
            return Ok(mint.token(buyer));
        }
        let body = format!(r#"{{"user":"{buyer}"}}"#);
        let call = Call::post("/api/v1/demo/login", "", &body);
        let token: contract::api::DemoToken = json(&mut self.session, &call).await?;
        Ok(token.token)
    }

    /// The sale's gate.
    ///
    /// # Errors
    /// When the platform does not tell.
    pub(crate) async fn gate(&mut self, sale: &str) -> Result<Gate, PlatformError> {
        json(&mut self.session, &Call::get(&format!("/api/v1/sales/{sale}/gate"), "")).await
    }

    /// A ticket, or the refusal of one.
    ///
    /// # Errors
    /// When no answer came.
    pub(crate) async fn ticket(
        &mut self,
        buy: &str,
        token: &str,
    ) -> Result<Result<TicketIssued, Reply>, PlatformError> {
        let reply = self.reply(&Call::post(&format!("{buy}/tickets"), token, "")).await?;
        Ok(reply.ok().ok_or(reply))
    }

    /// Places an order with a ticket.
    ///
    /// # Errors
    /// When no answer came.
    pub(crate) async fn place(
        &mut self,
        buy: &str,
        token: &str,
        ticket: &str,
        quantity: u32,
    ) -> Result<Placed, PlatformError> {
        let body = format!(r#"{{"ticket":"{ticket}","quantity":{quantity}}}"#);
        let reply = self.reply(&Call::post(&format!("{buy}/orders"), token, &body)).await?;
        let accepted =
            if reply.status == 202 { crate::http::body::text(&reply.body, "order_id") } else { None };
        Ok(accepted.map_or(Placed::Not(reply), Placed::Accepted))
    }

    /// The order as its buyer sees it, or the refusal.
    ///
    /// # Errors
    /// When no answer came.
    pub(crate) async fn order(
        &mut self,
        order: &str,
        token: &str,
    ) -> Result<Result<Order, Reply>, PlatformError> {
        let reply = self.reply(&Call::get(&format!("/api/v1/orders/{order}"), token)).await?;
        Ok(reply.ok().ok_or(reply))
    }

    /// Any other request, retried as the contract says.
    ///
    /// # Errors
    /// When no answer came.
    pub(crate) async fn reply(&mut self, call: &Call<'_>) -> Result<Reply, PlatformError> {
        let what = || format!("{} {}", call.method, call.path);
        let asked = self.session.ask_until(call, deadline()).await;
        asked.map_err(|why| PlatformError::Broken { what: what(), why })
    }
}
