//! Money: integer minor units of an ISO 4217 currency. Never a float.

use std::fmt;
use std::str::FromStr;

/// Why an amount or a currency cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not three upper-case letters.
    #[error("currency must be three upper-case letters (ISO 4217)")]
    Currency,
    /// The product does not fit.
    #[error("amount is out of range")]
    OutOfRange,
}

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The code's three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII letters get in, so this is always the whole code.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(MoneyError::Currency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount in minor units (cents).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Money {
    /// Minor units; never negative.
    pub cents: i64,
    /// Which currency's.
    pub currency: Currency,
}

impl Money {
    /// The price of `quantity` units.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] if the product overflows.
    pub fn times(self, quantity: u32) -> Result<Self, MoneyError> {
        let cents = self.cents.checked_mul(i64::from(quantity)).ok_or(MoneyError::OutOfRange)?;
        Ok(Self { cents, ..self })
    }
}

/// Currencies whose minor unit is not a hundredth, with the digits that theirs has (ISO 4217).
const OTHER_DIGITS: [(&str, u32); 24] = [
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("ISK", 0),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("PYG", 0),
    ("RWF", 0),
    ("UGX", 0),
    ("UYI", 0),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
    ("BHD", 3),
    ("IQD", 3),
    ("JOD", 3),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("TND", 3),
];

/// An amount in minor units as people write it, such as `19.99 EUR` or `1999 JPY`.
#[must_use]
pub fn shown(minor_units: i64, currency: &str) -> String {
    let digits = OTHER_DIGITS.iter().find(|(code, _)| *code == currency).map_or(2, |(_, digits)| *digits);
    if digits == 0 {
        return format!("{minor_units} {currency}");
    }
    let (unit, width) = (10_i64.pow(digits), digits as usize);
    format!("{}.{:0width$} {currency}", minor_units / unit, minor_units % unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_shown_in_the_units_of_its_currency() {
        assert_eq!(shown(12_905, "EUR"), "129.05 EUR");
        assert_eq!(shown(12_900, "JPY"), "12900 JPY");
        assert_eq!(shown(1_005, "KWD"), "1.005 KWD");
    }

    #[test]
    fn a_price_multiplies_exactly_or_not_at_all() {
        let price = Money { cents: 1_999, currency: "EUR".parse().unwrap() };
        assert_eq!(price.times(3).unwrap().cents, 5_997);
        assert_eq!(Money { cents: i64::MAX, ..price }.times(2), Err(MoneyError::OutOfRange));
        assert_eq!("eur".parse::<Currency>(), Err(MoneyError::Currency));
    }
}
