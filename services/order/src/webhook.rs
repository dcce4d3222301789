//! The provider's signature: `t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<raw body>">`.

use domain::UnixMillis;
use hmac::{Hmac, KeyInit, Mac};
use service_kit::Secret;
use sha2::Sha256;

/// How far the signature's time may be from now, either way, in seconds.
const TOLERANCE_S: i64 = 300;

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// No header, or not of the documented form.
    #[error("Seckill-Signature must read t=<unix seconds>,v1=<hex>")]
    Form,
    /// Too old, or from the future.
    #[error("the signature's time is more than {TOLERANCE_S} s away")]
    Time,
    /// Another key, or another body.
    #[error("the signature does not match the body")]
    Mismatch,
}

fn mac(secret: &Secret, at_s: i64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{at_s}.").as_bytes());
    mac.update(body);
    mac
}

/// The header's value for this body at this moment.
#[must_use]
pub fn sign(secret: &Secret, now: UnixMillis, body: &[u8]) -> String {
    let at_s = now.0.div_euclid(1000);
    format!("t={at_s},v1={}", hex::encode(mac(secret, at_s, body).finalize().into_bytes()))
}

/// Whether the header signs this body, now. The comparison takes the same time for every wrong value.
pub(crate) fn verify(
    secret: &Secret,
    now: UnixMillis,
    header: &str,
    body: &[u8],
) -> Result<(), SignatureError> {
    let (mut at_s, mut signature) = (None, None);
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", t)) => at_s = t.parse::<i64>().ok(),
            Some(("v1", v1)) => signature = hex::decode(v1).ok(),
            // Other versions may stand beside the one we know.
            _ => {}
        }
    }
    let (Some(at_s), Some(signature)) = (at_s, signature) else { return Err(SignatureError::Form) };
    if now.0.div_euclid(1000).saturating_sub(at_s).saturating_abs() > TOLERANCE_S {
        return Err(SignatureError::Time);
    }
    mac(secret, at_s, body).verify_slice(&signature).map_err(|_| SignatureError::Mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_500);
    const BODY: &[u8] = br#"{"event_id":"e"}"#;

    fn key() -> Secret {
        Secret::new("a webhook secret")
    }

    #[test]
    fn a_signature_is_as_documented() {
        // Computed apart: printf '1700000000.{"event_id":"e"}' | openssl dgst -sha256 -hmac 'a webhook secret'
        let expected = "74e8da7bf24f4d6d3a9d70e5f2aed477259a0f003152ec0aaf96f9daf2742f93";
        assert_eq!(sign(&key(), NOW, BODY), format!("t=1700000000,v1={expected}"));
        assert_eq!(verify(&key(), NOW, &sign(&key(), NOW, BODY), BODY), Ok(()));
    }

    #[test]
    fn another_key_another_body_and_another_time_are_refused() {
        let good = sign(&key(), NOW, BODY);
        let other = Secret::new("another secret!!");
        assert_eq!(verify(&other, NOW, &good, BODY), Err(SignatureError::Mismatch));
        assert_eq!(verify(&key(), NOW, &good, b"{}"), Err(SignatureError::Mismatch));
        let moved = good.replace("t=1700000000", "t=1700000001");
        assert_eq!(verify(&key(), NOW, &moved, BODY), Err(SignatureError::Mismatch));
        for away in [-301_000, 301_000] {
            assert_eq!(verify(&key(), NOW.plus(away), &good, BODY), Err(SignatureError::Time));
        }
        for within in [-299_000, 299_000] {
            assert_eq!(verify(&key(), NOW.plus(within), &good, BODY), Ok(()));
        }
    }

    #[test]
    fn garbage_is_refused_without_a_panic() {
        for header in ["", "t=1", "v1=00", "t=x,v1=00", "t=1,v1=zz", "t=-9223372036854775808,v1=00", ",,=,"] {
            assert!(verify(&key(), NOW, header, BODY).is_err(), "{header}");
        }
    }
}
