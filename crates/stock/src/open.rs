//! A URL's scheme picks the adapter; an unknown one is refused.

use std::sync::Arc;

use domain::Clock;

use crate::memory::MemoryStock;
use crate::port::StockStore;
use crate::redis::{RedisOptions, RedisStock};

/// Why no store could be opened. It shows the scheme only: what follows may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No adapter speaks it.
    #[error("SECKILL_STOCK_URL: no adapter has the scheme {scheme:?} (expected {expected})")]
    UnknownScheme {
        /// The URL's scheme.
        scheme: String,
        /// The schemes there are.
        expected: &'static str,
    },
    /// The scheme is known, and the rest is wrong.
    #[error("SECKILL_STOCK_URL: the {scheme} address cannot be used: {why}")]
    BadAddress {
        /// The URL's scheme.
        scheme: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The schemes that [`open`] knows.
const SCHEMES: &str =
    "memory:, redis://, redis+sentinel:// or redis+cluster://, or these with rediss for TLS";

impl OpenError {
    pub(crate) fn bad_address(url: &str, why: &'static str) -> Self {
        Self::BadAddress { scheme: scheme(url), why }
    }
}

/// What follows the last letter that a scheme may have could be anything, a password too.
fn scheme(url: &str) -> String {
    const SCHEME_LEN_MAX: usize = 20;
    let scheme = url.split(':').next().unwrap_or_default();
    let plain = scheme.len() <= SCHEME_LEN_MAX
        && scheme.len() < url.len()
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if plain { scheme.to_owned() } else { String::new() }
}

/// What the opener does with the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Reserves and looks. Its credentials may be limited to that.
    Gateway,
    /// Keeps the sales' stock, and the store's function library.
    Inventory,
}

/// Opens the store at a URL: `memory:`, or one that [`RedisStock::connect`] takes. A store on servers
/// connects in the background; its `ping` says when it is there. Must be called on a Tokio runtime.
///
/// `clock` is read by the memory store only: every other store has its own.
///
/// # Errors
/// If no adapter has the URL's scheme, or its adapter cannot read the rest.
pub fn open(url: &str, role: Role, clock: Arc<dyn Clock>) -> Result<Arc<dyn StockStore>, OpenError> {
    match scheme(url).as_str() {
        "memory" if url == "memory:" => Ok(Arc::new(MemoryStock::new(clock))),
        "memory" => Err(OpenError::bad_address(url, "it takes nothing after memory:")),
        "redis" | "redis+sentinel" | "redis+cluster" | "rediss" | "rediss+sentinel" | "rediss+cluster" => {
            let options = RedisOptions { installer: role == Role::Inventory, ..RedisOptions::default() };
            Ok(Arc::new(RedisStock::connect(url, options)?))
        }
        other => Err(OpenError::UnknownScheme { scheme: other.to_owned(), expected: SCHEMES }),
    }
}

#[cfg(test)]
mod tests {
    use domain::UnixMillis;

    use super::*;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> UnixMillis {
            UnixMillis(12)
        }
    }

    fn refusal(url: &str) -> String {
        match open(url, Role::Gateway, Arc::new(Noon)) {
            Ok(_) => panic!("{url} must be refused"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_known_scheme_opens_even_while_nothing_is_there() {
        for url in [
            "memory:",
            "redis://127.0.0.1:1",
            "redis+sentinel://127.0.0.1:1/main",
            "redis+cluster://127.0.0.1:1",
            "rediss://127.0.0.1:1",
            "rediss+sentinel://127.0.0.1:1/main",
            "rediss+cluster://127.0.0.1:1",
        ] {
            assert!(open(url, Role::Inventory, Arc::new(Noon)).is_ok(), "{url}");
        }
    }

    #[tokio::test]
    async fn an_unknown_one_is_named_with_the_setting_and_without_its_secrets() {
        for url in [
            "mysql://root:secret@host",
            "secret",
            "Redis secret://",
            "redisss://:secret@host",
            "memory:secret",
        ] {
            let said = refusal(url);
            assert!(said.contains("SECKILL_STOCK_URL") && !said.contains("secret"), "{said}");
        }
        assert!(refusal("mysql://x").contains("\"mysql\""));
        assert!(!refusal("redis://:secret@ho st").contains("secret"));
    }
}
