//! The keys that sign and verify tickets.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Shortest key in bytes.
const KEY_LEN_MIN: usize = 32;
/// Keys at once at most: a rotation needs two.
const KEYS_MAX: usize = 16;
/// Longest key id in bytes.
const KEY_ID_LEN_MAX: usize = 16;
/// Bytes of a MAC.
pub(super) const MAC_LEN: usize = 32;

/// Why keys cannot be used. Never shows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Not `id:hex`.
    #[error("key {0} is not id:hex with an id of [a-z0-9-]{{1,{KEY_ID_LEN_MAX}}}")]
    Shape(usize),
    /// Too short to be secure.
    #[error("key {0} needs at least {KEY_LEN_MIN} bytes in hex")]
    Short(usize),
    /// Two keys of one id.
    #[error("key {0} has the id of an earlier one")]
    Repeated(usize),
    /// Too many keys.
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
}

/// Keys of tickets: the first signs, all verify. So that a key can be rotated without refusing a
/// single ticket: add the new key as second everywhere, then make it the first, then drop the old one.
#[derive(Clone)]
pub struct TicketKeys(Vec<(Box<str>, Hmac<Sha256>)>);

impl TicketKeys {
    /// The id of the key that signs.
    pub(super) fn signer(&self) -> &str {
        &self.0[0].0
    }

    /// The MAC of `message` by the key that signs.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; MAC_LEN] {
        self.0[0].1.clone().chain_update(message).finalize().into_bytes().into()
    }

    /// Whether `mac` is `message`'s by the key of this id, in constant time.
    pub(super) fn verify(&self, id: &[u8], message: &[u8], mac: &[u8]) -> bool {
        let Some((_, key)) = self.0.iter().find(|(known, _)| known.as_bytes() == id) else { return false };
        key.clone().chain_update(message).verify_slice(mac).is_ok()
    }
}

impl FromStr for TicketKeys {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<Self, KeysError> {
        let mut keys: Vec<(Box<str>, Hmac<Sha256>)> = Vec::new();
        for (n, part) in text.split(',').enumerate().map(|(n, part)| (n + 1, part.trim())) {
            let (id, key) = part.split_once(':').ok_or(KeysError::Shape(n))?;
            let id_fits = (1..=KEY_ID_LEN_MAX).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            let key = hex::decode(key).ok().filter(|_| id_fits).ok_or(KeysError::Shape(n))?;
            if key.len() < KEY_LEN_MIN {
                return Err(KeysError::Short(n));
            }
            if keys.iter().any(|(known, _)| &**known == id) {
                return Err(KeysError::Repeated(n));
            }
            let key = Hmac::new_from_slice(&key).map_err(|_| KeysError::Short(n))?;
            keys.push((id.into(), key));
        }
        if keys.len() > KEYS_MAX { Err(KeysError::TooMany) } else { Ok(Self(keys)) }
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}
