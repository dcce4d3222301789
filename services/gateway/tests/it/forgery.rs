//! Whatever bytes come as a ticket, a token, a body or a path: nothing panics, and nothing forged passes.

use std::sync::Arc;

use axum::http::{HeaderValue, Method, header};
use contract::Code;
use domain::{BuyerId, Epoch, OrderId, UnixMillis};
use gateway::identity::{Identity, Jwks};
use gateway::tickets::{Claims, Presented, TicketKeys};
use gateway::{Cors, Proxies};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use service_kit::Secret;

use crate::support::app::{BUY, JWT_SECRET, TICKET_KEYS};
use crate::support::captcha::Spelled;
use crate::support::{Answer, App, NOW, Options};

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
    fn a_signed_payload_names_who_it_says_or_nobody(payload in payloads()) {
        use base64::Engine;
        use hmac::{Hmac, KeyInit, Mac};
        let b64 = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", b64(br#"{"alg":"HS256"}"#), b64(&payload));
        let mac = Hmac::<sha2::Sha256>::new_from_slice(JWT_SECRET.as_bytes()).unwrap().chain_update(&signed);
        let token = format!("{signed}.{}", b64(&mac.finalize().into_bytes()));
        if let Some(buyer) = Identity::new(&Secret::new(JWT_SECRET)).buyer(&token, UnixMillis(NOW)) {
            let said: Said = serde_json::from_slice(&payload).unwrap();
            prop_assert_eq!(said.sub.as_str(), buyer.as_str());
            prop_assert!(said.exp > (NOW / 1000) as f64, "{}", said.exp);
        }
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
    let app = App::start().await;
    let token = app.token("alice");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let segment = "(%[0-9a-f]{2}|[!-~&&[^#?%/\\\\\"<>^`{|}]]){0,12}";
    let paths = proptest::collection::vec(segment, 1..5);
    for n in 0..300 {
        let segments = paths.new_tree(&mut runner).unwrap().current().join("/");
        let prefix = ["/", "/api/v1/", "/api/v1/buy/", "/api/v1/sales/", "/s/", "/assets/", "/pay/"][n % 7];
        for method in [Method::GET, Method::POST] {
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

/// An object's fields: names, and values as JSON. A name may be there twice.
type Fields = Vec<(String, String)>;

fn fields<const N: usize>(fields: [(&str, String); N]) -> Fields {
    fields.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn object(fields: &[(String, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// The fields as they are, or with one that has a value of another kind, is left out, there twice, or named otherwise.
fn other_fields(fields: Fields) -> impl Strategy<Value = Fields> {
    let values = [
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "1e400",
        "99999999999999999999",
        r#""""#,
        r#""x""#,
        r#""\u0000""#,
        r#""\ud800""#,
        "[]",
        "{}",
        r#"["c","s"]"#,
        r#"{"challenge":[]}"#,
    ];
    let value = prop::sample::select(values.to_vec());
    (0..fields.len(), value, "[a-z_]{0,10}", 0..6).prop_map(move |(at, value, name, how)| {
        let mut fields = fields.clone();
        match how {
            0 => fields[at].1 = value.to_owned(),
            1 => drop(fields.remove(at)),
            2 => fields.push(fields[at].clone()),
            3 => fields[at].0 = name,
            _ => {}
        }
        fields
    })
}

/// The text as it is, cut off, or with some bytes put in.
fn mangled(text: String) -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>(), 1..4);
    (0..text.len(), bytes, 0..4).prop_map(move |(at, bytes, how)| {
        let (before, after) = text.as_bytes().split_at(at);
        match how {
            0 => before.to_vec(),
            1 => [before, bytes.as_slice(), after].concat(),
            _ => text.clone().into_bytes(),
        }
    })
}

/// The claims that name a buyer. A claim that nobody reads may be any JSON, also a number that no `f64`
/// holds or half a surrogate pair, so a payload that holds need not be a [`serde_json::Value`].
#[derive(serde::Deserialize)]
struct Said {
    sub: String,
    exp: f64,
}

/// What a token of ours says, and what is nearly that.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let ends = (NOW / 1000 + 60).to_string();
    let payload = fields([("sub", r#""alice""#.to_owned()), ("exp", ends), ("nbf", "0".to_owned())]);
    other_fields(payload).prop_flat_map(|payload| mangled(object(&payload)))
}

/// Sends this body, and asserts that it succeeds or is refused with one of these codes, as documented.
async fn succeeds(app: &App, path: &str, body: &[u8], success: u16, refusals: &[Code]) -> bool {
    let mut headers = crate::support::http::authorized(Some(&app.token("alice")));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer: Answer = app.public.send(Method::POST, path, headers, body).await;
    if answer.status == success {
        return true;
    }
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    let shown = String::from_utf8_lossy(body);
    let known = refusals.iter().find(|known| known.as_str() == code);
    let known = known.unwrap_or_else(|| panic!("{shown}: {} {code}", answer.status));
    assert_eq!(answer.refused(&code).status, known.status(), "{shown}");
    false
}

#[tokio::test]
async fn odd_orders_are_refused_as_documented_and_never_an_error_of_ours() {
    const REFUSALS: [Code; 4] =
        [Code::BadRequest, Code::InvalidTicket, Code::InvalidQuantity, Code::TicketMismatch];
    let app = App::start().await;
    let (ticket, _) = app.ticket("alice").await;
    let order = fields([("ticket", format!("\"{ticket}\"")), ("quantity", "1".to_owned())]);
    let bodies = other_fields(order).prop_flat_map(|order| mangled(object(&order)));
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut good = 0;
    for _ in 0..400 {
        let body = bodies.new_tree(&mut runner).unwrap().current();
        good += usize::from(succeeds(&app, &format!("{BUY}/orders"), &body, 202, &REFUSALS).await);
    }
    assert!((1..400).contains(&good), "{good}");
    assert_eq!(app.reservations(), 1, "of one ticket");
}

#[tokio::test]
async fn odd_ticket_requests_are_refused_as_documented_and_never_an_error_of_ours() {
    const REFUSALS: [Code; 2] = [Code::BadRequest, Code::ProofRequired];
    let app = App::with(Options { captcha: Arc::new(Spelled), ..Options::default() }).await;
    {
        let mut sales = app.behind.sales.lock();
        (sales[0].rules.captcha, sales[0].version) = (true, 2);
    }
    app.admin_patch("/admin/v1/sales/sale-1", "{}").await.ok(200);
    let path = format!("{BUY}/tickets");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut good = 0;
    for _ in 0..300 {
        let wanted = app.ticket_answer("alice").await.refused("proof_required").proof.unwrap();
        let proof = fields([
            ("challenge", format!("\"{}\"", wanted.challenge)),
            ("solution", "\"\"".to_owned()),
            ("captcha", format!("\"{}\"", wanted.captcha.unwrap())),
        ]);
        let bodies = other_fields(proof)
            .prop_flat_map(|proof| {
                other_fields(fields([("proof", object(&proof)), ("pass", "\"x\"".to_owned())]))
            })
            .prop_flat_map(|asked| mangled(object(&asked)));
        let body = bodies.new_tree(&mut runner).unwrap().current();
        good += usize::from(succeeds(&app, &path, &body, 200, &REFUSALS).await);
    }
    assert!((1..300).contains(&good), "{good}");
}
