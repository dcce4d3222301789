//! The sales inventory owns: the port, and its adapters below it.

mod postgres;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use contract::rules::SaleRules;
use domain::{Clock, Phase, SaleId, SaleTerms, TermsError, UnixMillis};
use service_kit::{DatabaseUrl, database};
use stock::StockConfig;

/// Sales kept at most; creating another is refused.
pub(crate) const SALES_MAX: usize = 10_000;
/// Idempotency keys are forgotten after a day.
const IDEMPOTENCY_TTL_MS: i64 = 24 * 3600 * 1000;

/// A sale as inventory keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaleRow {
    /// Its id.
    pub id: SaleId,
    /// What was announced; `stock` is the present total.
    pub terms: SaleTerms,
    /// What the operator did.
    pub phase: Phase,
    /// The secret part of the buy path.
    pub slug: String,
    /// Rises with every change of terms or phase.
    pub version: u64,
    /// Rises with every restock.
    pub total_version: u64,
    /// When it was created.
    pub created_at: UnixMillis,
    /// What it asks of its crowd: for gateways.
    pub rules: SaleRules,
}

impl SaleRow {
    /// How the stock store should sell it.
    #[must_use]
    pub fn stock_config(&self) -> StockConfig {
        StockConfig {
            version: self.version,
            opens_at: self.terms.opens_at,
            ends_at: self.terms.ends_at,
            phase: self.phase,
            per_user_limit: self.terms.per_user_limit,
        }
    }

    /// Whether it is over at `now`.
    #[must_use]
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.phase == Phase::Ended || now >= self.terms.ends_at
    }
}

/// A client's promise that a request is the same one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyKey {
    /// The client's key.
    pub key: String,
    /// What it was used for.
    pub fingerprint: String,
}

impl IdempotencyKey {
    /// The sale the key was used for before, from what was remembered of it: a fingerprint and a sale.
    fn replays(&self, found: Option<(String, String)>) -> Result<Option<SaleId>, SaleStoreError> {
        match found {
            None => Ok(None),
            Some((fingerprint, sale)) if fingerprint == self.fingerprint => {
                sale.parse().map(Some).map_err(|_| corrupt("sale id of a key"))
            }
            Some(_) => {
                Err(SaleStoreError::Conflict("this Idempotency-Key was used for another request".into()))
            }
        }
    }
}

/// A change an operator asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// New title, times or rules.
    Terms {
        /// If new.
        title: Option<String>,
        /// If new.
        opens_at: Option<UnixMillis>,
        /// If new.
        ends_at: Option<UnixMillis>,
        /// If new: in place of all the old ones.
        rules: Option<SaleRules>,
    },
    /// Hold, resume or end.
    Phase(Phase),
    /// Add units.
    Restock(u32),
}

/// Why a sale cannot be created or changed.
#[derive(Debug, thiserror::Error)]
pub enum SaleStoreError {
    /// No such sale.
    #[error("there is no such sale")]
    NotFound,
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// The resulting terms cannot be offered.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// The database cannot be reached, or cannot do it now. The same call may succeed later; whether this one did
    /// anything is unknown.
    #[error("the sale store is unavailable: {0}")]
    Unavailable(String),
    /// The database refuses this very call, or holds what this program cannot have written. The same call fails again.
    #[error("the sale store refuses: {0}")]
    Refused(String),
}

impl From<sqlx::Error> for SaleStoreError {
    fn from(error: sqlx::Error) -> Self {
        let told = error.to_string();
        if database::refuses(&error) { Self::Refused(told) } else { Self::Unavailable(told) }
    }
}

/// A stored value that this program cannot have written.
fn corrupt(what: &str) -> SaleStoreError {
    SaleStoreError::Refused(format!("a row with a bad {what}"))
}

/// The sales and their changes. A change and its idempotency key are one transaction.
#[async_trait]
pub trait SaleStore: Send + Sync {
    /// Adds a sale. With a key that created one before, answers that one.
    async fn create(&self, sale: &SaleRow, key: Option<&IdempotencyKey>) -> Result<SaleRow, SaleStoreError>;

    /// Changes a sale and answers it as it is then. With a key that was used before, changes nothing.
    async fn edit(
        &self,
        sale: &SaleId,
        edit: &Edit,
        key: Option<&IdempotencyKey>,
    ) -> Result<SaleRow, SaleStoreError>;

    /// One sale.
    async fn get(&self, sale: &SaleId) -> Result<SaleRow, SaleStoreError>;

    /// All sales, by opening time.
    async fn all(&self) -> Result<Vec<SaleRow>, SaleStoreError>;
}

/// Opens the store that `url` names (`sqlite:PATH` or `postgres://…`).
///
/// # Errors
/// An unknown scheme, or a database that cannot be opened.
pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn SaleStore>, SaleStoreError> {
    match DatabaseUrl::of(url).map_err(|e| SaleStoreError::Refused(e.to_string()))? {
        DatabaseUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteSales::open(path, clock).await?)),
        DatabaseUrl::Postgres(url) => Ok(Arc::new(postgres::PostgresSales::open(url, clock).await?)),
    }
}

/// What an edit makes of a sale, or why it may not be made. The rules, without any database.
fn apply(sale: &SaleRow, edit: &Edit, now: UnixMillis) -> Result<SaleRow, SaleStoreError> {
    let mut new = sale.clone();
    if sale.phase == Phase::Ended && *edit != Edit::Phase(Phase::Ended) {
        return Err(SaleStoreError::Conflict("the sale has been ended; that is final".into()));
    }
    match edit {
        Edit::Terms { title, opens_at, ends_at, rules } => {
            new.terms.title = title.clone().unwrap_or(new.terms.title);
            new.terms.opens_at = opens_at.unwrap_or(new.terms.opens_at);
            new.terms.ends_at = ends_at.unwrap_or(new.terms.ends_at);
            new.rules = rules.clone().unwrap_or(new.rules);
        }
        Edit::Phase(phase) => new.phase = *phase,
        Edit::Restock(_) if sale.is_over(now) => {
            return Err(SaleStoreError::Conflict("the sale is over".into()));
        }
        Edit::Restock(quantity) => {
            new.terms.stock = SaleTerms::restocked(sale.terms.stock, *quantity)?;
            new.total_version += 1;
        }
    }
    new.terms.check()?;
    if new != *sale && new.total_version == sale.total_version {
        new.version += 1;
    }
    Ok(new)
}

fn rules_text(sale: &SaleRow) -> Result<String, SaleStoreError> {
    serde_json::to_string(&sale.rules).map_err(|e| SaleStoreError::Refused(e.to_string()))
}

#[cfg(test)]
pub(crate) mod tests;
