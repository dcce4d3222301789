//! Who asks: HS256 bearer tokens, and nothing else.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{BuyerId, UnixMillis};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use service_kit::Secret;
use service_kit::http::bearer;
use sha2::Sha256;

/// Longest token in bytes.
const TOKEN_LEN_MAX: usize = 4096;
/// `{"alg":"HS256","typ":"JWT"}`, as nearly everybody writes it.
const USUAL_HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// Verifies and mints tokens with one key.
#[derive(Clone)]
pub struct Identity(Hmac<Sha256>);

#[derive(Deserialize)]
struct Header<'a> {
    alg: &'a str,
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(with = "contract::text")]
    sub: BuyerId,
    exp: f64,
    nbf: Option<f64>,
}

impl Identity {
    /// Tokens by this key.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(Hmac::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length"))
    }

    /// The buyer a request's headers name, if its token holds at `now`.
    #[must_use]
    pub fn of(&self, headers: &HeaderMap, now: UnixMillis) -> Option<BuyerId> {
        self.buyer(bearer(headers)?, now)
    }

    /// The buyer this token names, if it holds at `now`: HS256 whatever its header wishes, `sub` an
    /// identifier of the contract, `exp` present and in the future.
    #[must_use]
    pub fn buyer(&self, token: &str, now: UnixMillis) -> Option<BuyerId> {
        if token.len() > TOKEN_LEN_MAX {
            return None;
        }
        let (signed, mac) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if header != USUAL_HEADER && !is_hs256(header) {
            return None;
        }
        let mut given = [0_u8; 33];
        let len = URL_SAFE_NO_PAD.decode_slice(mac, &mut given).ok()?;
        self.0.clone().chain_update(signed).verify_slice(&given[..len]).ok()?;
        let payload: Payload = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let now_s = seconds(now);
        (now_s < payload.exp && payload.nbf.is_none_or(|nbf| nbf <= now_s)).then_some(payload.sub)
    }

    /// A token for this buyer that ends after `ttl_s` seconds: the demo's identity provider.
    #[must_use]
    pub fn mint(&self, buyer: &BuyerId, now: UnixMillis, ttl_s: i64) -> String {
        let payload = format!(r#"{{"sub":"{buyer}","exp":{}}}"#, now.0 / 1000 + ttl_s);
        let signed = format!("{USUAL_HEADER}.{}", URL_SAFE_NO_PAD.encode(payload));
        let mac = self.0.clone().chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }
}

fn is_hs256(header: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(header) else { return false };
    // An extension that must be understood is one this gateway does not understand.
    serde_json::from_slice::<Header<'_>>(&bytes).is_ok_and(|h| h.alg == "HS256" && h.crit.is_none())
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit a double exactly")]
fn seconds(at: UnixMillis) -> f64 {
    at.0 as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

    fn identity() -> Identity {
        Identity::new(&Secret::new("a secret of the tests"))
    }

    fn token(header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let mac = identity().0.chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    #[test]
    fn a_minted_token_names_its_buyer_until_it_ends() {
        let alice = "alice".parse().unwrap();
        let token = identity().mint(&alice, NOW, 60);
        assert_eq!(identity().buyer(&token, NOW), Some(alice));
        assert_eq!(identity().buyer(&token, NOW.plus(60_000)), None, "its end is not part of its life");
        let other = Identity::new(&Secret::new("another secret of tests"));
        assert_eq!(other.buyer(&token, NOW), None);
    }

    #[test]
    fn other_writings_of_the_header_pass_and_other_algorithms_do_not() {
        let payload = r#"{"sub":"a","exp":1790000060.5,"iat":1,"aud":["x"]}"#;
        for good in [r#"{"alg":"HS256"}"#, r#"{ "typ":"JWT", "alg":"HS256", "kid":"1" }"#] {
            assert!(identity().buyer(&token(good, payload), NOW).is_some(), "{good}");
        }
        let bad = [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"typ":"JWT"}"#,
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
            "[]",
            "",
        ];
        for bad in bad {
            assert_eq!(identity().buyer(&token(bad, payload), NOW), None, "{bad}");
        }
        let unsigned = token(r#"{"alg":"none"}"#, payload);
        let unsigned = &unsigned[..=unsigned.rfind('.').unwrap()];
        assert_eq!(identity().buyer(unsigned, NOW), None);
    }

    #[test]
    fn a_payload_needs_a_proper_sub_and_a_future_exp() {
        let usual = r#"{"alg":"HS256","typ":"JWT"}"#;
        for bad in [
            r#"{"sub":"a"}"#,
            r#"{"exp":1790000060}"#,
            r#"{"sub":"a","exp":"1790000060"}"#,
            r#"{"sub":"a","exp":1789999999}"#,
            r#"{"sub":"A b","exp":1790000060}"#,
            r#"{"sub":7,"exp":1790000060}"#,
            r#"{"sub":"a","exp":1790000060,"nbf":1790000030}"#,
            r#"{"sub":"a","exp":null}"#,
            "not json",
        ] {
            assert_eq!(identity().buyer(&token(usual, bad), NOW), None, "{bad}");
        }
    }

    #[test]
    fn no_single_changed_character_passes() {
        let token = identity().mint(&"alice".parse().unwrap(), NOW, 60);
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(identity().buyer(&forged, NOW), None, "character {at}");
        }
    }
}
