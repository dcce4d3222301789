//! `#[serde(with = "contract::text")]`: a domain type on the wire as the text it displays as.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes the value's text.
///
/// # Errors
/// Whatever the serializer reports.
pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// Parses the value from its text.
///
/// # Errors
/// The type's own parse error, as the deserializer's.
pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr,
    T::Err: Display,
    D: Deserializer<'de>,
{
    let text = Cow::<'de, str>::deserialize(from)?;
    text.parse().map_err(|e| D::Error::custom(format_args!("{text:?} {e}")))
}

/// The same for a value that may be absent (`null`).
pub mod option {
    use super::{Cow, Deserialize, Deserializer, Display, Error, FromStr, Serializer};

    /// Writes the value's text, or null.
    ///
    /// # Errors
    /// Whatever the serializer reports.
    pub fn serialize<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    /// Parses the value from its text, if there is one.
    ///
    /// # Errors
    /// The type's own parse error, as the deserializer's.
    pub fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        Option::<Cow<'de, str>>::deserialize(from)?
            .map(|text| text.parse().map_err(|e| D::Error::custom(format_args!("{text:?} {e}"))))
            .transpose()
    }
}

/// The same for a moment: Unix milliseconds as a number.
pub mod millis {
    use domain::UnixMillis;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the milliseconds.
    ///
    /// # Errors
    /// Whatever the serializer reports.
    pub fn serialize<S: Serializer>(at: &UnixMillis, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(at.0)
    }

    /// Reads the milliseconds.
    ///
    /// # Errors
    /// When it is not an integer.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UnixMillis, D::Error> {
        i64::deserialize(from).map(UnixMillis)
    }
}

/// The same for an epoch, as a number.
pub mod epoch {
    use domain::Epoch;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the number.
    ///
    /// # Errors
    /// Whatever the serializer reports.
    pub fn serialize<S: Serializer>(epoch: &Epoch, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(epoch.0)
    }

    /// Reads the number.
    ///
    /// # Errors
    /// When it is not a non-negative integer.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Epoch, D::Error> {
        u64::deserialize(from).map(Epoch)
    }
}
