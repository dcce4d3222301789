//! How many connections one client address may hold.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The open connections, by client address. As large as there are connections at most.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place; free again when dropped.
pub(super) struct Place {
    places: Places,
    of: IpAddr,
}

impl Places {
    /// A place for this address, unless it has `max` already. An IPv6 network of 64 bits is one address.
    pub(super) fn take(&self, address: IpAddr, max: usize) -> Option<Place> {
        let of = match address.to_canonical() {
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            v4 @ IpAddr::V4(_) => v4,
        };
        let mut places = self.0.lock();
        let taken = places.entry(of).or_default();
        if *taken >= max {
            return None;
        }
        *taken += 1;
        Some(Place { places: self.clone(), of })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut taken) = self.places.0.lock().entry(self.of) {
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
    fn an_address_has_so_many_places_and_leaves_nothing_behind() {
        let places = Places::default();
        let at = |text: &str| places.take(text.parse().unwrap(), 2);
        let (one, two) = (at("2001:db8::1"), at("2001:db8::2:0:0:1"));
        assert!(one.is_some() && two.is_some() && at("2001:db8::3").is_none(), "one network of 64 bits");
        assert!(at("2001:db8:0:1::1").is_some() && at("10.0.0.1").is_some());
        drop(one);
        assert!(at("2001:db8::3").is_some());
        drop(two);
        assert!(places.0.lock().is_empty());
    }
}
