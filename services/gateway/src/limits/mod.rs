//! Rate limits: per buyer, per sale, per client address.

mod keyed;
mod sale;
mod ticks;

pub(crate) use keyed::{KeyedLimit, address_key, buyer_key};
pub(crate) use sale::SaleLimit;
pub(crate) use ticks::Ticks;

use governor::Quota;

use crate::config::Rate;

/// A burst of all requests, refilled evenly over the window.
fn quota(rate: Rate) -> Quota {
    let period = std::time::Duration::from_secs(rate.per_s.get().into()) / rate.requests.get();
    Quota::with_period(period).unwrap_or(Quota::per_second(rate.requests)).allow_burst(rate.requests)
}
