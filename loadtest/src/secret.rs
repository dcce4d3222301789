//! What the load test signs itself: bearer tokens and webhook bodies.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// {"alg":"HS256","typ":"JWT"}, encoded, with its dot.
const JWT_HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.";

fn keyed(secret: &str) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length")
}

/// Mints HS256 tokens. The key is expanded once: half of a short HMAC's cost is its key.
#[derive(Clone, Debug)]
pub(crate) struct TokenMint {
    keyed: Hmac<Sha256>,
    exp_s: i64,
}

impl TokenMint {
    /// A mint whose tokens end at `exp_s` (Unix seconds).
    pub(crate) fn new(secret: &str, exp_s: i64) -> Self {
        Self { keyed: keyed(secret), exp_s }
    }

    /// A token for this buyer.
    pub(crate) fn token(&self, buyer: &str) -> String {
        let claims = format!(r#"{{"sub":"{buyer}","exp":{}}}"#, self.exp_s);
        let mut token = String::with_capacity(JWT_HEAD.len() + claims.len() * 2 + 44);
        token.push_str(JWT_HEAD);
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let mut mac = self.keyed.clone();
        mac.update(token.as_bytes());
        let signature = mac.finalize().into_bytes();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

/// The `Seckill-Signature` header of a webhook body sent at `now_s` (Unix seconds).
pub(crate) fn webhook_signature(secret: &str, now_s: i64, body: &str) -> String {
    let mut mac = keyed(secret);
    mac.update(format!("{now_s}.{body}").as_bytes());
    format!("t={now_s},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_contracts_claims_and_a_signature_over_them() {
        let token = TokenMint::new("secret", 4_102_444_800).token("ann");
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        let decode = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(decode(parts[0]), r#"{"alg":"HS256","typ":"JWT"}"#);
        assert_eq!(decode(parts[1]), r#"{"sub":"ann","exp":4102444800}"#);
        let mut mac = keyed("secret");
        mac.update(format!("{}.{}", parts[0], parts[1]).as_bytes());
        mac.verify_slice(&URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
    }

    #[test]
    fn a_webhook_signature_is_the_known_answer() {
        // Computed with `openssl dgst -sha256 -hmac key` over "1.x".
        assert_eq!(
            webhook_signature("key", 1, "x"),
            "t=1,v1=fc4913c41a7bf793267e2a384f3261c9436ec2cd097bd745e7b0d99113f510ec"
        );
        assert_ne!(webhook_signature("key", 1, "x"), webhook_signature("yek", 1, "x"));
    }
}
