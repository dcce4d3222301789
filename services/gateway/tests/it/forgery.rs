//! Whatever bytes come as a ticket, a token, a body or a path: nothing panics, and nothing forged passes.

use domain::{BuyerId, Epoch, OrderId, UnixMillis};
use gateway::identity::{Identity, Jwks};
use gateway::tickets::{Claims, Presented, TicketKeys};
use gateway::{Cors, Proxies};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use service_kit::Secret;

use crate::support::NOW;
use crate::support::app::{JWT_SECRET, TICKET_KEYS};

fn keys() -> TicketKeys {
    TICKET_KEYS.parse().unwrap()
}

fn ticket() -> String {
    let claims = Claims {
        order: OrderId::mint(UnixMillis(NOW), [9; 10]),
        sale: "sale-1".parse().unwrap(),
        buyer: "alice".parse().unwrap(),
        epoch: Epoch(3),
        expires_at: UnixMillis(NOW),
    };
    claims.sign(&keys())
}

/// The text with one character exchanged, left out or put in.
fn damaged(text: String) -> impl Strategy<Value = String> {
    (0..text.len(), "[ -~]", 0..3).prop_map(move |(at, other, how)| match how {
        0 => format!("{}{other}{}", &text[..at], &text[at + 1..]),
        1 => format!("{}{}", &text[..at], &text[at + 1..]),
        _ => format!("{}{other}{}", &text[..at], &text[at..]),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_are_a_ticket(text in "[A-Za-z0-9_-]{0,400}") {
        prop_assert!(Presented::parse(&text).and_then(|ticket| ticket.verify(&keys())).is_err());
    }

    #[test]
    fn no_text_is_a_ticket(text in any::<String>()) {
        prop_assert!(Presented::parse(&text).and_then(|ticket| ticket.verify(&keys())).is_err());
    }

    #[test]
    fn no_damaged_ticket_passes(text in damaged(ticket())) {
        prop_assume!(text != ticket());
        prop_assert!(Presented::parse(&text).and_then(|ticket| ticket.verify(&keys())).is_err());
    }

    #[test]
    fn no_text_is_a_token(text in any::<String>()) {
        let identity = Identity::new(&Secret::new(JWT_SECRET));
        prop_assert_eq!(identity.buyer(&text, UnixMillis(NOW)), None);
    }

    #[test]
    fn no_header_and_payload_is_a_token(header in "[ -~]{0,60}", payload in "[ -~]{0,80}", mac in "[A-Za-z0-9_-]{0,60}") {
        use base64::Engine;
        let b64 = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let identity = Identity::new(&Secret::new(JWT_SECRET));
        for alg in ["none", "HS256", "HS512", "RS256", header.as_str()] {
            let token = format!("{}.{}.{mac}", b64(&format!(r#"{{"alg":"{alg}"}}"#)), b64(&payload));
            prop_assert_eq!(identity.buyer(&token, UnixMillis(NOW)), None);
        }
    }

    #[test]
    fn no_damaged_token_passes(seed in any::<u64>(), at in any::<prop::sample::Index>(), other in "[A-Za-z0-9._-]") {
        let identity = Identity::new(&Secret::new(JWT_SECRET));
        let buyer: BuyerId = format!("b{seed}").parse().unwrap();
        let token = identity.mint(&buyer, UnixMillis(NOW), 60);
        let at = at.index(token.len());
        let damaged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        prop_assume!(damaged != token);
        prop_assert_eq!(identity.buyer(&damaged, UnixMillis(NOW)), None);
    }

    #[test]
    fn bodies_lists_and_sets_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), text in any::<String>()) {
        let _ = serde_json::from_slice::<contract::api::PlaceOrder>(&bytes);
        let _ = serde_json::from_slice::<Option<contract::api::TicketRequest>>(&bytes);
        let _ = Jwks::parse(&bytes);
        let _ = text.parse::<Proxies>();
        let _ = text.parse::<Cors>();
        let _ = text.parse::<contract::rules::MaybeRate>();
    }
}

#[tokio::test]
async fn odd_paths_are_refused_and_never_an_error_of_ours() {
    let app = crate::support::App::start().await;
    let token = app.token("alice");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let segment = "(%[0-9a-f]{2}|[!-~&&[^#?%/\\\\\"<>^`{|}]]){0,12}";
    let paths = proptest::collection::vec(segment, 1..5);
    for n in 0..300 {
        let segments = paths.new_tree(&mut runner).unwrap().current().join("/");
        let prefix = ["/", "/api/v1/", "/api/v1/buy/", "/api/v1/sales/", "/s/", "/assets/", "/pay/"][n % 7];
        for method in [axum::http::Method::GET, axum::http::Method::POST] {
            let headers = crate::support::http::authorized(Some(&token));
            let path = format!("{prefix}{segments}");
            if path.parse::<axum::http::Uri>().is_err() {
                continue;
            }
            let answer = app.public.send(method, &path, headers, b"").await;
            assert!(answer.status.as_u16() < 500, "{path}: {}", answer.status);
        }
    }
}
