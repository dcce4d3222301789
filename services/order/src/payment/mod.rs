//! Who collects the money. The ledger never trusts a provider: what it says is recorded, compared and,
//! where it does not fit, paid back.

mod sandbox;

use async_trait::async_trait;

pub use crate::order_store::Charge;
pub use sandbox::{OpenSandboxError, Sandbox, SandboxConfig};

/// What a provider knows of a charge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChargeStatus {
    /// Not paid; also a charge it never heard of.
    Open,
    /// The money was captured.
    Captured {
        /// Minor units.
        amount_cents: i64,
        /// As the provider says it.
        currency: String,
    },
    /// It came to nothing.
    Failed,
}

/// The provider could not be asked. It may have done what it was asked to: every call is idempotent by
/// the reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the payment provider does not answer: {0}")]
pub struct ProviderError(pub String);

/// A payment provider.
#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// Opens the charge, if it is not open yet, and answers where the buyer pays.
    async fn open(&self, charge: &Charge) -> Result<String, ProviderError>;
    /// What became of a charge.
    async fn status(&self, reference: &str) -> Result<ChargeStatus, ProviderError>;
    /// Pays a capture back: this much of this charge, once however often it is asked. A charge that was captured twice,
    /// with different money, is paid back twice.
    async fn refund(&self, reference: &str, amount_cents: i64, currency: &str) -> Result<(), ProviderError>;
}
