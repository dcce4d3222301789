//! The sale a run happens at: created for it or given, and waited for until it is open.

use std::time::Duration;

use contract::api::NewSale;
use tokio::time::Instant;

use crate::cli::SaleArgs;
use crate::clock::Clock;
use crate::journal::Head;
use crate::platform::{Platform, PlatformError};

/// How long a sale made here stays open.
const OPEN_FOR_MS: i64 = 6 * 3600 * 1000;
/// Longest wait beyond the announced opening.
const OPENING_LATE_S_MAX: u64 = 30;
/// Bounds of the pause between two looks at the gate.
const GATE_PAUSE_MS: (u64, u64) = (20, 500);

/// Why there is no sale to storm.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VenueError {
    /// The platform said so.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// The gate did not open in time.
    #[error("the gate of sale {0} is still {1} long after its opening")]
    StaysShut(String, String),
    /// It is over already.
    #[error("sale {0} has ended")]
    Ended(String),
}

/// A sale.
#[derive(Clone, Debug)]
pub(crate) struct Venue {
    /// What is sold.
    pub(crate) head: Head,
}

impl Venue {
    /// Creates the run's sale, or looks the given one up.
    ///
    /// # Errors
    /// When the platform does neither.
    pub(crate) async fn prepare(
        platform: &Platform,
        args: &SaleArgs,
        clock: &Clock,
    ) -> Result<Self, VenueError> {
        let mut operator = platform.operator();
        let sale = match &args.sale {
            Some(id) => operator.sale(id).await?.sale,
            None => {
                let opens_at = clock.now_ms() + i64::from(args.open_in_s) * 1000;
                let new = NewSale {
                    id: None,
                    title: "Load test".into(),
                    price_cents: args.price_cents,
                    currency: "EUR".into(),
                    stock: args.stock,
                    per_user_limit: args.per_user_limit,
                    opens_at,
                    ends_at: opens_at + OPEN_FOR_MS,
                    pay_within_s: args.pay_within_s,
                    rules: None,
                };
                operator.create(&new, &format!("loadtest-{}", clock.now_ms())).await?.sale
            }
        };
        let ledger = operator.ledger(&sale.id.to_string()).await?;
        let head = Head {
            sale: sale.id.to_string(),
            stock: ledger.total,
            per_user_limit: sale.per_user_limit,
            taken_before: ledger.order_store.taken,
        };
        Ok(Self { head })
    }

    /// Waits until the gate shows the buy path of an open sale.
    ///
    /// # Errors
    /// When it does not within the bound.
    pub(crate) async fn opened(&self, platform: &Platform) -> Result<String, VenueError> {
        let mut shopper = platform.shopper();
        let mut deadline = None;
        loop {
            let gate = shopper.gate(&self.head.sale).await?;
            if let ("open" | "sold_out", Some(buy)) = (gate.state.as_str(), &gate.buy) {
                return Ok(buy.clone());
            }
            if gate.state == "ended" {
                return Err(VenueError::Ended(self.head.sale.clone()));
            }
            let left_ms = u64::try_from(gate.opens_at - gate.now).unwrap_or(0);
            let late = Duration::from_secs(OPENING_LATE_S_MAX);
            let deadline = *deadline.get_or_insert(Instant::now() + Duration::from_millis(left_ms) + late);
            if Instant::now() > deadline {
                return Err(VenueError::StaysShut(self.head.sale.clone(), gate.state));
            }
            let pause_ms = left_ms.clamp(GATE_PAUSE_MS.0, GATE_PAUSE_MS.1);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }
}
