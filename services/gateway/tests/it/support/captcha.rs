//! Captchas whose answers a test knows, however the real one is drawn.

use async_trait::async_trait;
use gateway::Captcha;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::sync::Barrier;

/// Spells each question's answer out in it.
pub struct Spelled;

fn spelled(secret: &Hmac<Sha256>) -> String {
    hex::encode(secret.clone().finalize().into_bytes())
}

#[async_trait]
impl Captcha for Spelled {
    fn question(&self, secret: &Hmac<Sha256>) -> String {
        spelled(secret)
    }

    async fn is_answer(&self, secret: &Hmac<Sha256>, answer: &str) -> bool {
        answer == spelled(secret)
    }
}

/// Takes any answer, but none before so many are there to be judged.
pub struct AtOnce(pub Barrier);

#[async_trait]
impl Captcha for AtOnce {
    fn question(&self, _: &Hmac<Sha256>) -> String {
        String::new()
    }

    async fn is_answer(&self, _: &Hmac<Sha256>, _: &str) -> bool {
        self.0.wait().await;
        true
    }
}
