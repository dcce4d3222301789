//! The ticket's bytes: `version, key id, order id, sale, buyer, epoch, expiry, mac`, in URL-safe base64.
//!
//! Every field but version and MAC is preceded by its length, so no two different tickets have the
//! same signed bytes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{BuyerId, Epoch, OrderId, SaleId, UnixMillis};

use super::TicketKeys;
use super::keys::MAC_LEN;

const VERSION: u8 = 1;
/// Longest ticket in bytes, before base64: version, six lengths, and the longest of each field.
const TICKET_LEN_MAX: usize = 1 + 6 + 16 + 16 + 64 + 64 + 8 + 8 + MAC_LEN;
/// Longest ticket in characters.
const TEXT_LEN_MAX: usize = TICKET_LEN_MAX.div_ceil(3) * 4;

/// Why a ticket does not count. Its holder learns only that it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not a ticket's bytes.
    #[error("not a ticket")]
    Shape,
    /// Not signed by one of the keys.
    #[error("not signed by a known key")]
    Signature,
}

/// What a ticket says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// The id its order will have.
    pub order: OrderId,
    /// The sale it is for.
    pub sale: SaleId,
    /// Whose it is.
    pub buyer: BuyerId,
    /// The stock state it was issued in.
    pub epoch: Epoch,
    /// When it ends, by the stock store's clock.
    pub expires_at: UnixMillis,
}

impl Claims {
    /// The signed ticket.
    #[must_use]
    pub fn sign(&self, keys: &TicketKeys) -> String {
        let mut bytes = Vec::with_capacity(TICKET_LEN_MAX);
        bytes.push(VERSION);
        let order = self.order.to_bytes();
        let (epoch, expiry) = (self.epoch.0.to_be_bytes(), self.expires_at.0.to_be_bytes());
        let fields: [&[u8]; 6] = [
            keys.signer().as_bytes(),
            &order,
            self.sale.as_str().as_bytes(),
            self.buyer.as_str().as_bytes(),
            &epoch,
            &expiry,
        ];
        for field in fields {
            // Every field's type bounds it far below 256 bytes.
            bytes.push(u8::try_from(field.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(field);
        }
        let mac = keys.sign(&bytes);
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(&bytes)
    }
}

/// A ticket as it was presented: taken apart, not yet believed.
pub struct Presented {
    bytes: [u8; TEXT_LEN_MAX],
    signed_len: usize,
    len: usize,
    key: (usize, usize),
    order: OrderId,
    sale: (usize, usize),
    buyer: (usize, usize),
    epoch: Epoch,
    expires_at: UnixMillis,
}

impl Presented {
    /// Takes the text apart.
    ///
    /// # Errors
    /// [`TicketError::Shape`].
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        if text.len() > TEXT_LEN_MAX {
            return Err(TicketError::Shape);
        }
        let mut bytes = [0; TEXT_LEN_MAX];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).map_err(|_| TicketError::Shape)?;
        let signed_len = len.checked_sub(MAC_LEN).ok_or(TicketError::Shape)?;
        let mut fields = Fields { bytes: &bytes[..signed_len], at: 1 };
        if bytes[..signed_len].first() != Some(&VERSION) {
            return Err(TicketError::Shape);
        }
        let key = fields.next()?;
        let order = OrderId::from_bytes(fields.exact()?);
        let (sale, buyer) = (fields.next()?, fields.next()?);
        let epoch = Epoch(u64::from_be_bytes(fields.exact()?));
        let expires_at = UnixMillis(i64::from_be_bytes(fields.exact()?));
        if fields.at != signed_len {
            return Err(TicketError::Shape);
        }
        Ok(Self { bytes, signed_len, len, key, order, sale, buyer, epoch, expires_at })
    }

    /// The order id it names. Not believed: only good for asking whether it is known.
    #[must_use]
    pub fn order(&self) -> OrderId {
        self.order
    }

    /// Whether its time is over. Not believed either.
    #[must_use]
    pub fn has_run_out(&self, now: UnixMillis) -> bool {
        now >= self.expires_at
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`TicketError::Signature`], or [`TicketError::Shape`] if what was signed is no ticket.
    pub fn verify(&self, keys: &TicketKeys) -> Result<Claims, TicketError> {
        let (signed, mac) = self.bytes[..self.len].split_at(self.signed_len);
        let genuine = keys.verify(self.field(self.key), signed, mac);
        if !genuine {
            return Err(TicketError::Signature);
        }
        let text = |field| std::str::from_utf8(self.field(field)).map_err(|_| TicketError::Shape);
        Ok(Claims {
            order: self.order,
            sale: text(self.sale)?.parse().map_err(|_| TicketError::Shape)?,
            buyer: text(self.buyer)?.parse().map_err(|_| TicketError::Shape)?,
            epoch: self.epoch,
            expires_at: self.expires_at,
        })
    }

    fn field(&self, (from, to): (usize, usize)) -> &[u8] {
        &self.bytes[from..to]
    }
}

struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn next(&mut self) -> Result<(usize, usize), TicketError> {
        let len = usize::from(*self.bytes.get(self.at).ok_or(TicketError::Shape)?);
        let from = self.at + 1;
        let to = from + len;
        if to > self.bytes.len() {
            return Err(TicketError::Shape);
        }
        self.at = to;
        Ok((from, to))
    }

    fn exact<const N: usize>(&mut self) -> Result<[u8; N], TicketError> {
        let (from, to) = self.next()?;
        self.bytes[from..to].try_into().map_err(|_| TicketError::Shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> TicketKeys {
        text.split(',')
            .map(|k| format!("{k}:{}", k.repeat(64 / k.len())))
            .collect::<Vec<_>>()
            .join(",")
            .parse()
            .unwrap()
    }

    fn claims() -> Claims {
        Claims {
            order: OrderId::mint(UnixMillis(1_790_000_000_000), [9; 10]),
            sale: "s".repeat(64).parse().unwrap(),
            buyer: "b".repeat(64).parse().unwrap(),
            epoch: Epoch(3),
            expires_at: UnixMillis(1_790_000_060_000),
        }
    }

    #[test]
    fn a_ticket_says_what_was_signed() {
        let keys = keys("aa");
        let text = claims().sign(&keys);
        assert_eq!(Presented::parse(&text).unwrap().verify(&keys), Ok(claims()));
    }

    #[test]
    fn no_single_changed_byte_passes() {
        let keys = keys("aa");
        let text = claims().sign(&keys);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            for flip in [1_u8, 0x80, 0xff] {
                let mut forged = bytes.clone();
                forged[at] ^= flip;
                let forged = URL_SAFE_NO_PAD.encode(&forged);
                let outcome = Presented::parse(&forged).and_then(|p| p.verify(&keys));
                assert!(outcome.is_err(), "byte {at} ^ {flip:#x} passed");
            }
        }
        for cut in 0..text.len() {
            assert!(Presented::parse(&text[..cut]).and_then(|p| p.verify(&keys)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn fields_cannot_flow_into_each_other() {
        let keys = keys("aa");
        let one = Claims { sale: "ab".parse().unwrap(), buyer: "c".parse().unwrap(), ..claims() };
        let other = Claims { sale: "a".parse().unwrap(), buyer: "bc".parse().unwrap(), ..claims() };
        assert_ne!(one.sign(&keys), other.sign(&keys));
    }

    #[test]
    fn every_known_key_verifies_and_an_unknown_one_does_not() {
        let old = claims().sign(&keys("aa"));
        assert!(Presented::parse(&old).unwrap().verify(&keys("bb,aa")).is_ok(), "rotated, still valid");
        let gone = Presented::parse(&old).unwrap().verify(&keys("bb"));
        assert_eq!(gone, Err(TicketError::Signature));
        let same_id_other_key: TicketKeys = format!("aa:{}", "c".repeat(64)).parse().unwrap();
        let other = Presented::parse(&old).unwrap().verify(&same_id_other_key);
        assert_eq!(other, Err(TicketError::Signature));
    }
}
