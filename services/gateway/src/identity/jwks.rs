//! The public keys of an identity provider: a JWK set, of which only what is needed is believed.
//!
//! A key's algorithm is its own, by its type, whatever a token's header wishes: an RSA key never verifies
//! anything but RS256, and no public key is ever a secret of HS256.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// Keys of a set that are looked at, at most.
const KEYS_MAX: usize = 64;
/// Longest key id in bytes.
const KEY_ID_LEN_MAX: usize = 256;
/// Largest set in bytes.
pub(crate) const SET_BYTES_MAX: usize = 64 * 1024;

/// Why a set cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not a JWK set.
    #[error("not a JWK set: {0}")]
    Shape(String),
    /// Too large.
    #[error("more than {SET_BYTES_MAX} bytes")]
    TooLarge,
    /// No key that could be used.
    #[error("no key for RS256, ES256 or EdDSA in it")]
    Empty,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

/// A key's bytes, in the one form its algorithm takes.
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

struct Key {
    id: Option<Box<str>>,
    material: Material,
}

/// The keys of a set.
#[derive(Default)]
pub struct Jwks(Vec<Key>);

impl Jwks {
    /// Reads a set. Keys of other kinds, or for other purposes, are left out.
    ///
    /// # Errors
    /// When it is no set, or has no key that could be used.
    pub fn parse(text: &[u8]) -> Result<Self, JwksError> {
        if text.len() > SET_BYTES_MAX {
            return Err(JwksError::TooLarge);
        }
        let set: Set = serde_json::from_slice(text).map_err(|e| JwksError::Shape(e.to_string()))?;
        let keys: Vec<_> = set.keys.into_iter().take(KEYS_MAX).filter_map(key).collect();
        if keys.is_empty() { Err(JwksError::Empty) } else { Ok(Self(keys)) }
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key of this id is here, for deciding whether to look for news.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Whether the signature is one of these keys'. A token that names no key has it only if there is
    /// exactly one of its algorithm.
    #[must_use]
    pub fn verify(&self, algorithm: &str, id: Option<&str>, signed: &[u8], signature: &[u8]) -> bool {
        let mut fitting = self.0.iter().filter(|key| {
            key.material.algorithm() == algorithm && id.is_none_or(|id| key.id.as_deref() == Some(id))
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => key.material.verify(signed, signature),
            _ => false,
        }
    }
}

impl Material {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa { .. } => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        let outcome = match self {
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            }
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            Self::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(signed, signature),
        };
        outcome.is_ok()
    }
}

fn key(jwk: serde_json::Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let is_for_signatures = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
        && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    let is_named_well = jwk.kid.as_ref().is_none_or(|id| id.len() <= KEY_ID_LEN_MAX);
    let material = material(&jwk).filter(|_| is_for_signatures && is_named_well)?;
    let alg_fits = jwk.alg.as_deref().is_none_or(|alg| alg == material.algorithm());
    alg_fits.then(|| Key { id: jwk.kid.map(Into::into), material })
}

fn material(jwk: &Jwk) -> Option<Material> {
    let bytes = |field: &Option<String>| URL_SAFE_NO_PAD.decode(field.as_ref()?).ok();
    let coordinate = |field| bytes(field).filter(|bytes| bytes.len() == 32);
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            // ring takes numbers without leading zeros only.
            let number = |field| {
                let bytes = bytes(field)?;
                let from = bytes.iter().position(|b| *b != 0)?;
                Some(bytes[from..].to_vec())
            };
            Some(Material::Rsa { n: number(&jwk.n)?, e: number(&jwk.e)? })
        }
        ("EC", Some("P-256")) => {
            Some(Material::P256([&[4], &coordinate(&jwk.x)?[..], &coordinate(&jwk.y)?[..]].concat()))
        }
        ("OKP", Some("Ed25519")) => coordinate(&jwk.x).map(Material::Ed25519),
        _ => None,
    }
}
