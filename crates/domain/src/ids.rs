//! Identifiers: who and what a sale talks about.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

/// Longest identifier in bytes (`[a-z0-9-]{1,64}`).
const ID_LEN_MAX: usize = 64;

/// Why a string is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, too long, or a character outside `[a-z0-9-]`.
    #[error("must match [a-z0-9-]{{1,64}}")]
    Shape,
    /// An order id is a UUID in its 36-character lower-case form.
    #[error("must be a UUID in lower-case hyphenated form")]
    NotAnOrderId,
}

fn check(text: &str) -> Result<(), IdError> {
    let ok = (1..=ID_LEN_MAX).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if ok { Ok(()) } else { Err(IdError::Shape) }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A sale: a small stock offered at a fixed moment.
    SaleId
}
text_id! {
    /// A buyer, as the identity provider names them (`sub`).
    BuyerId
}

/// The one id from click to ledger: minted into the ticket, carried by the reservation, the
/// message, the row, the payment and every event. A `UUIDv7`, so ids sort by the time of the click.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(u128);

impl OrderId {
    /// Mints an id from the moment and 80 random bits (of which 74 are used).
    #[must_use]
    pub fn mint(now: crate::UnixMillis, random: [u8; 10]) -> Self {
        let millis = u64::try_from(now.0).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().as_u128())
    }

    /// When it was minted, by the stock store's clock: the first 48 bits of a `UUIDv7`. Only as true as whoever
    /// names the id.
    #[must_use]
    pub fn minted_at(self) -> crate::UnixMillis {
        crate::UnixMillis(i64::try_from(self.0 >> 80).unwrap_or(i64::MAX))
    }

    /// The 128 bits, most significant first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id with these 128 bits.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl FromStr for OrderId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        check(text)?;
        if text.len() != 36 {
            return Err(IdError::NotAnOrderId);
        }
        Uuid::try_parse(text).map(|u| Self(u.as_u128())).map_err(|_| IdError::NotAnOrderId)
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What units are set aside under in the stock store: the order's own id, or `<order id>.late`
/// for the second reservation that a late payment makes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ReservationId {
    /// The order these units are for.
    pub order: OrderId,
    /// Whether this is the reservation of a late payment.
    pub late: bool,
}

impl ReservationId {
    /// The order's first reservation.
    #[must_use]
    pub fn first(order: OrderId) -> Self {
        Self { order, late: false }
    }

    /// The reservation a late payment makes.
    #[must_use]
    pub fn late(order: OrderId) -> Self {
        Self { order, late: true }
    }
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.order, if self.late { ".late" } else { "" })
    }
}

impl FromStr for ReservationId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.strip_suffix(".late") {
            Some(order) => Ok(Self::late(order.parse()?)),
            None => Ok(Self::first(text.parse()?)),
        }
    }
}

/// Generation of a sale's stock state. Raised by a barrier when the stock store was lost; messages
/// of an older epoch are rejected. 0 is before the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Epoch(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_the_contracts_alphabet_only() {
        assert!("sale-1".parse::<SaleId>().is_ok());
        for bad in ["", "Sale", "a b", "ü", &"a".repeat(65), "a.late"] {
            assert_eq!(bad.parse::<SaleId>(), Err(IdError::Shape), "{bad}");
        }
    }

    #[test]
    fn order_ids_sort_by_time_and_round_trip() {
        let a = OrderId::mint(crate::UnixMillis(1_000), [255; 10]);
        let b = OrderId::mint(crate::UnixMillis(1_001), [0; 10]);
        assert!(a < b);
        assert_eq!(a.to_string().parse::<OrderId>(), Ok(a));
        assert_eq!(OrderId::from_bytes(a.to_bytes()), a);
        assert_eq!("abc".parse::<OrderId>(), Err(IdError::NotAnOrderId));
    }

    #[test]
    fn a_late_reservation_is_another_id_of_the_same_order() {
        let order = OrderId::mint(crate::UnixMillis(5), [7; 10]);
        let late = ReservationId::late(order);
        assert_ne!(late, ReservationId::first(order));
        assert_eq!(late.to_string().parse::<ReservationId>(), Ok(late));
    }
}
