//! The timeout job: expires what is not paid in time. Orders with a payment under way are another job's
//! ([`super::overdue_payments`]): these here wait for nobody.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Job, expire};
use crate::order_store::{OrderStore, StoreError};

/// Orders of one round.
const ROUND_ORDERS: u32 = 500;

pub(super) struct Timeout {
    pub(super) store: Arc<dyn OrderStore>,
}

#[async_trait]
impl Job for Timeout {
    const NAME: &'static str = "timeout";

    async fn round(&mut self) -> Result<bool, StoreError> {
        let overdue = self.store.overdue(ROUND_ORDERS).await?;
        expire(&*self.store, &overdue).await?;
        Ok(overdue.len() >= ROUND_ORDERS as usize)
    }
}
