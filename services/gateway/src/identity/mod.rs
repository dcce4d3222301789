//! Who asks: bearer tokens of this platform's own secret (HS256), or of an identity provider whose public
//! keys are known (RS256, ES256, EdDSA), and nothing else.

mod fetch;
mod jwks;
pub(crate) mod provider;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{BuyerId, UnixMillis};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use service_kit::Secret;
use service_kit::http::bearer;
use sha2::Sha256;
use tokio::sync::Notify;

pub use jwks::{Jwks, JwksError};
pub use provider::{JwksSource, SourceError};

/// Longest token in bytes.
const TOKEN_LEN_MAX: usize = 4096;
/// `{"alg":"HS256","typ":"JWT"}`, as nearly everybody writes it.
const USUAL_HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// Longest signature in bytes: RSA of 8192 bits.
const SIGNATURE_LEN_MAX: usize = 1024;

/// Verifies tokens, and mints them with the platform's own secret.
#[derive(Clone)]
pub struct Identity {
    secret: Hmac<Sha256>,
    provider: Option<Arc<Provider>>,
}

/// What a token of the provider must say besides, so that one made for another application buys nothing here.
#[derive(Clone, Default, Debug)]
pub struct Expected {
    /// Its `iss`.
    pub issuer: Option<String>,
    /// One of its `aud`.
    pub audience: Option<String>,
}

/// An identity provider.
pub(crate) struct Provider {
    source: JwksSource,
    expected: Expected,
    refresh: Duration,
    keys: ArcSwap<Jwks>,
    /// Rung when a token names a key that is not known.
    wanted: Notify,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(with = "contract::text")]
    sub: BuyerId,
    exp: f64,
    nbf: Option<f64>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Some(Vec<String>),
}

/// Who signed a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signer {
    Ourselves,
    TheProvider,
}

impl Identity {
    /// Tokens by this secret.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let secret = Hmac::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
        Self { secret, provider: None }
    }

    /// The same, and those of an identity provider whose keys are looked at this often.
    #[must_use]
    pub fn with_provider(self, source: JwksSource, expected: Expected, refresh: Duration) -> Self {
        let keys = ArcSwap::from_pointee(Jwks::default());
        let provider = Provider { source, expected, refresh, keys, wanted: Notify::new() };
        Self { provider: Some(Arc::new(provider)), ..self }
    }

    /// The provider, for whoever keeps its keys.
    pub(crate) fn provider(&self) -> Option<Arc<Provider>> {
        self.provider.clone()
    }

    /// The buyer a request's headers name, if its token holds at `now`.
    #[must_use]
    pub fn of(&self, headers: &HeaderMap, now: UnixMillis) -> Option<BuyerId> {
        self.buyer(bearer(headers)?, now)
    }

    /// The buyer this token names, if it holds at `now`: signed by one of the keys with the algorithm
    /// that this key has, `sub` an identifier of the contract, `exp` present and in the future.
    #[must_use]
    pub fn buyer(&self, token: &str, now: UnixMillis) -> Option<BuyerId> {
        if token.len() > TOKEN_LEN_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let signer = if header == USUAL_HEADER {
            self.is_ours(signed, signature).then_some(Signer::Ourselves)
        } else {
            self.signer(header, signed, signature)
        };
        let signer = signer?;
        let payload: Payload = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        if signer == Signer::TheProvider && !self.provider.as_ref()?.expected.is_met_by(&payload) {
            return None;
        }
        let now_s = seconds(now);
        (now_s < payload.exp && payload.nbf.is_none_or(|nbf| nbf <= now_s)).then_some(payload.sub)
    }

    fn is_ours(&self, signed: &str, mac: &str) -> bool {
        let mut given = [0_u8; 33];
        let Ok(len) = URL_SAFE_NO_PAD.decode_slice(mac, &mut given) else { return false };
        self.secret.clone().chain_update(signed).verify_slice(&given[..len]).is_ok()
    }

    /// Who signed a token with this header, if one of its keys did.
    fn signer(&self, header: &str, signed: &str, signature: &str) -> Option<Signer> {
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        // An extension that must be understood is one this gateway does not understand.
        if header.crit.is_some() {
            return None;
        }
        match (header.alg.as_str(), &self.provider) {
            ("HS256", _) => self.is_ours(signed, signature).then_some(Signer::Ourselves),
            (_, Some(provider)) => provider.signed(&header, signed, signature).then_some(Signer::TheProvider),
            (_, None) => None,
        }
    }

    /// A token for this buyer that ends after `ttl_s` seconds: the demo's identity provider.
    #[must_use]
    pub fn mint(&self, buyer: &BuyerId, now: UnixMillis, ttl_s: i64) -> String {
        let payload = format!(r#"{{"sub":"{buyer}","exp":{}}}"#, now.0 / 1000 + ttl_s);
        let signed = format!("{USUAL_HEADER}.{}", URL_SAFE_NO_PAD.encode(payload));
        let mac = self.secret.clone().chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }
}

impl Expected {
    fn is_met_by(&self, payload: &Payload) -> bool {
        let is_for = |wanted: &String| match &payload.aud {
            Some(Audience::One(one)) => one == wanted,
            Some(Audience::Some(several)) => several.contains(wanted),
            None => false,
        };
        self.issuer.as_ref().is_none_or(|wanted| payload.iss.as_ref() == Some(wanted))
            && self.audience.as_ref().is_none_or(is_for)
    }
}

impl Provider {
    fn signed(&self, header: &Header, signed: &str, signature: &str) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        let (keys, id) = (self.keys.load(), header.kid.as_deref());
        if id.is_some_and(|id| !keys.has(id)) {
            self.wanted.notify_one();
        }
        signature.len() <= SIGNATURE_LEN_MAX && keys.verify(&header.alg, id, signed.as_bytes(), &signature)
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit a double exactly")]
fn seconds(at: UnixMillis) -> f64 {
    at.0 as f64 / 1000.0
}

#[cfg(test)]
mod tests;
