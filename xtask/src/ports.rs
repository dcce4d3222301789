//! Free ports of the loopback interface.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use crate::run::Outcome;

/// Below the range that Linux gives to outgoing connections: a server that is stopped finds its port free
/// when it starts again, however many connections were opened meanwhile.
const FIRST: u16 = 12_000;
const LAST: u16 = 31_999;

/// A free port that was not given out before.
pub(crate) fn free() -> Outcome<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Programs that run beside each other begin at different places.
    let span = LAST - FIRST + 1;
    let begin = u16::try_from((std::process::id().wrapping_mul(977)) % u32::from(span)).unwrap_or(0);
    for step in 0..span {
        let port = FIRST + (begin + step) % span;
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    Err("no port is free".into())
}
