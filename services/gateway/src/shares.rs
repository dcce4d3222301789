//! What one buyer may have at work at once among the requests that reach the services behind the gateway.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use contract::Code;
use domain::BuyerId;
use parking_lot::Mutex;
use service_kit::http::ApiError;

use crate::limits::buyer_key;

/// Tables the buyers are spread over.
const SHARDS: usize = 16;
/// Requests of one buyer at work at once: a few tabs and a phone. All buyers together share 512 calls.
const AT_ONCE_MAX: u32 = 16;

/// Who has how many requests at work. As large as there are requests at work.
#[derive(Default)]
pub(crate) struct Shares([Mutex<HashMap<u64, u32>>; SHARDS]);

/// One request's part in its buyer's share; free again when dropped.
pub(crate) struct Share<'a> {
    shares: &'a Shares,
    key: u64,
}

impl Shares {
    /// One more request of this buyer, whatever it asks for.
    ///
    /// # Errors
    /// 503 when the buyer's share is at work.
    pub(crate) fn take(&self, buyer: &BuyerId) -> Result<Share<'_>, ApiError> {
        let key = buyer_key(buyer);
        let mut table = self.table(key).lock();
        let at_work = table.entry(key).or_default();
        if *at_work >= AT_ONCE_MAX {
            return Err(ApiError::new(Code::Overloaded, "Too many of your requests are at work."));
        }
        *at_work += 1;
        Ok(Share { shares: self, key })
    }

    fn table(&self, key: u64) -> &Mutex<HashMap<u64, u32>> {
        &self.0[usize::from(key.to_le_bytes()[0]) % SHARDS]
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut at_work) = self.shares.table(self.key).lock().entry(self.key) {
            *at_work.get_mut() -= 1;
            if *at_work.get() == 0 {
                at_work.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buyer_has_a_share_and_leaves_nothing_behind() {
        let (shares, ann): (_, BuyerId) = (Shares::default(), "ann".parse().unwrap());
        let held: Vec<_> = (0..AT_ONCE_MAX).map(|_| shares.take(&ann).unwrap()).collect();
        assert_eq!(shares.take(&ann).err().map(|e| e.code), Some(Code::Overloaded));
        assert!(shares.take(&"bob".parse().unwrap()).is_ok(), "another's share is another's");
        drop(held);
        assert!(shares.take(&ann).is_ok());
        assert!(shares.0.iter().all(|table| table.lock().is_empty()));
    }
}
