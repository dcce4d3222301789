//! Sales that get no answer though others do: of a cluster, their node is away or stands still.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::SaleId;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a sale may go without an answer before another connection is worth trying, in milliseconds: that one asks the
/// cluster anew who has the sale.
const SILENT_MS_MAX: u64 = 1_000;
/// Silent sales remembered at most. So many are reason enough to have the connection renewed.
const SALES_MAX: usize = 256;

/// Since when which sale has had no answer.
#[derive(Default)]
pub(super) struct Silences {
    since: Mutex<HashMap<SaleId, Instant>>,
    /// Whether there are any: looked at after every answer.
    any: AtomicBool,
}

impl Silences {
    /// A call was answered.
    pub(super) fn heard(&self, sale: &SaleId) {
        if self.any.load(Ordering::Relaxed) {
            let mut since = self.since.lock();
            since.remove(sale);
            self.any.store(!since.is_empty(), Ordering::Relaxed);
        }
    }

    /// A call was not answered in time. True, now and then, when none has been for long.
    pub(super) fn unheard(&self, sale: &SaleId) -> bool {
        let (mut since, now) = (self.since.lock(), Instant::now());
        match since.get(sale) {
            Some(began) if now.duration_since(*began) < Duration::from_millis(SILENT_MS_MAX) => false,
            None if since.len() < SALES_MAX => {
                since.insert(sale.clone(), now);
                self.any.store(true, Ordering::Relaxed);
                false
            }
            // All of them begin anew: another connection is for them all, and once is enough.
            Some(_) | None => {
                since.clear();
                self.any.store(false, Ordering::Relaxed);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sale_that_is_silent_for_long_is_told_once_and_then_again_later() {
        let (silences, lamp) = (Silences::default(), "lamp".parse().unwrap());
        let pass = async || tokio::time::advance(Duration::from_millis(SILENT_MS_MAX)).await;
        assert!(!silences.unheard(&lamp));
        silences.heard(&lamp);
        pass().await;
        assert!(!silences.unheard(&lamp), "it was heard since");
        assert!(!silences.unheard(&lamp), "not for long");
        pass().await;
        assert!(silences.unheard(&lamp));
        assert!(!silences.unheard(&lamp), "once");
        pass().await;
        assert!(silences.unheard(&lamp));
    }

    #[test]
    fn sales_that_nobody_asks_for_any_more_hide_none_that_is_silent() {
        let silences = Silences::default();
        let mut told = 0;
        for n in 0..=SALES_MAX {
            told += u32::from(silences.unheard(&format!("sale-{n}").parse().unwrap()));
        }
        assert_eq!(told, 1, "and then they are forgotten");
    }
}
