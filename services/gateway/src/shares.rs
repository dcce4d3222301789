//! What one buyer may have at once: requests at work that reach the services behind the gateway, and open streams.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use contract::Code;
use domain::BuyerId;
use parking_lot::Mutex;
use service_kit::http::ApiError;

use crate::limits::buyer_key;

/// Tables the buyers are spread over.
const SHARDS: usize = 16;
/// Requests of one buyer at work at once: a few tabs and a phone. All buyers together share 512 calls.
const AT_ONCE_MAX: u32 = 16;
/// Open streams of one buyer, of orders and waiting rooms together. All buyers share what `SECKILL_STREAMS_MAX` grants.
const STREAMS_MAX: u32 = 16;

/// Who has how much of something. As large as there is of it.
pub(crate) struct Shares {
    tables: [Mutex<HashMap<u64, u32>>; SHARDS],
    max: u32,
    refusal: &'static str,
}

/// A part of its buyer's share; free again when dropped.
pub(crate) struct Share {
    shares: Arc<Shares>,
    key: u64,
}

impl Shares {
    /// Shares of the requests at work.
    pub(crate) fn of_requests() -> Arc<Self> {
        Self::new(AT_ONCE_MAX, "Too many of your requests are at work.")
    }

    /// Shares of the open streams.
    pub(crate) fn of_streams() -> Arc<Self> {
        Self::new(STREAMS_MAX, "Too many of your streams are open: poll instead.")
    }

    fn new(max: u32, refusal: &'static str) -> Arc<Self> {
        Arc::new(Self { tables: Default::default(), max, refusal })
    }

    /// One more for this buyer, whatever it is for.
    ///
    /// # Errors
    /// 503 when the buyer has its whole share.
    pub(crate) fn take(self: &Arc<Self>, buyer: &BuyerId) -> Result<Share, ApiError> {
        let key = buyer_key(buyer);
        let mut table = self.table(key).lock();
        let taken = table.entry(key).or_default();
        if *taken >= self.max {
            return Err(ApiError::new(Code::Overloaded, self.refusal));
        }
        *taken += 1;
        Ok(Share { shares: self.clone(), key })
    }

    fn table(&self, key: u64) -> &Mutex<HashMap<u64, u32>> {
        &self.tables[usize::from(key.to_le_bytes()[0]) % SHARDS]
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Entry::Occupied(mut taken) = self.shares.table(self.key).lock().entry(self.key) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buyer_has_a_share_and_leaves_nothing_behind() {
        let (shares, ann): (_, BuyerId) = (Shares::of_requests(), "ann".parse().unwrap());
        let held: Vec<_> = (0..AT_ONCE_MAX).map(|_| shares.take(&ann).unwrap()).collect();
        assert_eq!(shares.take(&ann).err().map(|e| e.code), Some(Code::Overloaded));
        assert!(shares.take(&"bob".parse().unwrap()).is_ok(), "another's share is another's");
        drop(held);
        assert!(shares.take(&ann).is_ok());
        assert!(shares.tables.iter().all(|table| table.lock().is_empty()));
    }
}
