//! Questions that people answer more easily than programs.

use std::fmt::Write;

use async_trait::async_trait;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Digits asked for.
const DIGITS: usize = 5;
/// Strokes that mean nothing.
const NOISE: usize = 6;

/// Asks questions whose answers it can judge without having kept them. A provider elsewhere fits as well:
/// its question is a site key, its judgement a call.
#[async_trait]
pub trait Captcha: Send + Sync {
    /// The question that belongs to this secret, as an SVG image.
    fn question(&self, secret: &Hmac<Sha256>) -> String;

    /// Whether this is its answer.
    async fn is_answer(&self, secret: &Hmac<Sha256>, answer: &str) -> bool;
}

/// Digits drawn as crooked strokes: no text is in the image, and no two are drawn alike.
pub struct Digits;

/// Each digit as a line through the corners of a grid of three columns and five rows.
const STROKES: [&str; 10] = [
    "00 20 24 04 00",
    "01 10 14",
    "00 20 22 02 04 24",
    "00 20 22 02 22 24 04",
    "00 02 22 20 24",
    "20 00 02 22 24 04",
    "20 00 04 24 22 02",
    "00 20 04",
    "00 20 24 04 00 02 22",
    "22 02 00 20 24 04",
];

fn bytes(secret: &Hmac<Sha256>, about: &[u8]) -> [u8; 32] {
    secret.clone().chain_update(about).finalize().into_bytes().into()
}

fn digits(secret: &Hmac<Sha256>) -> [u8; DIGITS] {
    let random = bytes(secret, b"answer");
    std::array::from_fn(|n| random[n] % 10)
}

#[async_trait]
impl Captcha for Digits {
    fn question(&self, secret: &Hmac<Sha256>) -> String {
        let mut image = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 200 60\" role=\"img\"><g fill=\"none\" \
             stroke=\"currentColor\" stroke-width=\"3\" stroke-linecap=\"round\">",
        );
        for (place, digit) in digits(secret).into_iter().enumerate() {
            let jitter = bytes(secret, &[b'd', u8::try_from(place).unwrap_or(0)]);
            let mut line = String::new();
            for (n, corner) in STROKES[usize::from(digit)].split(' ').enumerate() {
                let corner = corner.as_bytes();
                let wobble = |n: usize| u32::from(jitter[n % 32] % 6);
                let x = 12
                    + 38 * u32::try_from(place).unwrap_or(0)
                    + 9 * u32::from(corner[0] - b'0')
                    + wobble(2 * n);
                let y = 10 + 9 * u32::from(corner[1] - b'0') + wobble(2 * n + 1);
                let _ = write!(line, "{x},{y} ");
            }
            let _ = write!(image, "<polyline points=\"{}\"/>", line.trim_end());
        }
        let noise = bytes(secret, b"noise");
        for n in 0..NOISE {
            let at = |k: usize, most: u32| u32::from(noise[(4 * n + k) % 32]) * most / 256;
            let (x, y) = (at(0, 180), at(1, 50));
            let (dx, dy) = (at(2, 20), at(3, 10));
            let _ = write!(image, "<polyline points=\"{x},{y} {},{}\" stroke-width=\"1\"/>", x + dx, y + dy);
        }
        image.push_str("</g></svg>");
        image
    }

    async fn is_answer(&self, secret: &Hmac<Sha256>, answer: &str) -> bool {
        let right = digits(secret).map(|digit| b'0' + digit);
        answer.trim().as_bytes() == right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::KeyInit;

    #[tokio::test]
    async fn the_answer_is_the_digits_and_the_image_does_not_spell_them() {
        for n in 0..50_u8 {
            let secret = Hmac::<Sha256>::new_from_slice(&[n]).unwrap();
            let answer: String = digits(&secret).iter().map(|d| char::from(b'0' + d)).collect();
            assert!(Digits.is_answer(&secret, &answer).await);
            assert!(Digits.is_answer(&secret, &format!(" {answer}\n")).await);
            assert!(!Digits.is_answer(&secret, "").await);
            let other = if answer == "00000" { "00001" } else { "00000" };
            assert!(!Digits.is_answer(&secret, other).await);
            let image = Digits.question(&secret);
            assert!(!image.contains("<text") && image.ends_with("</svg>"));
            assert_eq!(image.matches("<polyline").count(), DIGITS + NOISE);
        }
    }
}
