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

/// Digits drawn as crooked strokes in a shuffled order: no text is in the image, and no two are drawn alike. It keeps
/// off scripts that only read; whoever reads images needs a provider of captchas.
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

/// A stroke from corner to corner of an image, in its units.
type Stroke = [(u32, u32); 2];

/// The strokes of a digit at its place. Each end is a little off by itself, so that no two share a point.
fn drawn(secret: &Hmac<Sha256>, place: u8, digit: u8) -> Vec<Stroke> {
    let off = bytes(secret, &[b'd', place]);
    let corners: Vec<_> = STROKES[usize::from(digit)].split(' ').map(str::as_bytes).enumerate().collect();
    let at = |(n, corner): (usize, &[u8]), k: usize| {
        let wobble = |n: usize, most: u8| u32::from(off[n % 32] % most);
        let x = 12 + 38 * u32::from(place) + 9 * u32::from(corner[0] - b'0');
        let y = 10 + 9 * u32::from(corner[1] - b'0');
        (x + wobble(2 * n, 5) + wobble(4 * n + k, 3), y + wobble(2 * n + 1, 5) + wobble(4 * n + k + 2, 3))
    };
    corners.windows(2).map(|ends| [at(ends[0], 16), at(ends[1], 19)]).collect()
}

/// Strokes that mean nothing, and are drawn like the others.
fn noise(secret: &Hmac<Sha256>) -> impl Iterator<Item = Stroke> {
    let random = bytes(secret, b"noise");
    (0..NOISE).map(move |n| {
        let at = |k: usize, most: u32| u32::from(random[(4 * n + k) % 32]) * most / 256;
        let (x, y) = (at(0, 185), at(1, 50));
        [(x, y), (x + at(2, 12), y + at(3, 10))]
    })
}

#[async_trait]
impl Captcha for Digits {
    fn question(&self, secret: &Hmac<Sha256>) -> String {
        let places = (0_u8..).zip(digits(secret));
        let mut strokes: Vec<Stroke> =
            places.flat_map(|(place, digit)| drawn(secret, place, digit)).chain(noise(secret)).collect();
        // In an order that says nothing of what belongs together.
        strokes.sort_by_cached_key(|stroke| bytes(secret, format!("{stroke:?}").as_bytes()));
        let mut image = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 200 60\" role=\"img\"><g fill=\"none\" \
             stroke=\"currentColor\" stroke-width=\"3\" stroke-linecap=\"round\">",
        );
        for [(x1, y1), (x2, y2)] in strokes {
            let _ = write!(image, "<path d=\"M{x1} {y1}L{x2} {y2}\"/>");
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
            let strokes = digits(&secret).map(|digit| STROKES[usize::from(digit)].split(' ').count() - 1);
            assert_eq!(image.matches("<path").count(), strokes.iter().sum::<usize>() + NOISE);
        }
    }
}
