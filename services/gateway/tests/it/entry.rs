//! What a sale may ask for before a ticket: proofs, captchas, a turn.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Barrier;

use crate::support::app::BUY;
use crate::support::captcha::{AtOnce, Spelled};
use crate::support::{App, Options, until};

async fn with_rules(rules: &str, options: Options) -> App {
    let app = App::with(options).await;
    set_rules(&app, rules, 2).await;
    app
}

async fn set_rules(app: &App, rules: &str, version: u64) {
    {
        let mut sales = app.behind.sales.lock();
        sales[0].rules = serde_json::from_str(rules).unwrap();
        sales[0].version = version;
    }
    app.admin_patch("/admin/v1/sales/sale-1", "{}").await.ok(200);
}

async fn ask(app: &App, buyer: &str, body: &Value) -> crate::support::Answer {
    app.public.post(&format!("{BUY}/tickets"), Some(&app.token(buyer)), body).await
}

fn is_work(challenge: &str, solution: u64, bits: u32) -> bool {
    let hash = Sha256::digest(format!("{challenge}:{solution}"));
    u32::from_be_bytes(*hash.first_chunk().unwrap()).leading_zeros() >= bits
}

fn solve(wanted: &contract::api::ProofWanted) -> Value {
    let bits = u32::from(wanted.bits);
    let solution = (0..).find(|n| is_work(&wanted.challenge, *n, bits)).unwrap();
    json!({ "challenge": wanted.challenge, "solution": solution.to_string() })
}

#[tokio::test]
async fn a_proof_gets_one_ticket_and_no_second_one() {
    let app = with_rules(r#"{"proof_bits":10}"#, Options::default()).await;
    let wanted = ask(&app, "alice", &Value::Null).await.refused("proof_required").proof.unwrap();
    assert_eq!((wanted.bits, wanted.captcha.is_some()), (10, false));
    let proof = json!({ "proof": solve(&wanted) });
    let not_hers = ask(&app, "mallory", &proof).await.refused("proof_required");
    assert_ne!(not_hers.proof.unwrap().challenge, wanted.challenge);
    ask(&app.beside(0).await, "alice", &proof).await.refused("proof_required");
    ask(&app, "alice", &proof).await.ok(200);
    ask(&app, "alice", &proof).await.refused("proof_required");

    let wanted = ask(&app, "alice", &json!({})).await.refused("proof_required").proof.unwrap();
    let lazy = (0..).find(|n| !is_work(&wanted.challenge, *n, 10)).unwrap();
    let lazy = json!({ "proof": { "challenge": wanted.challenge, "solution": lazy.to_string() } });
    ask(&app, "alice", &lazy).await.refused("proof_required");
    // Its end is the gateway's to say.
    let proof = json!({ "proof": solve(&wanted) });
    app.clock.advance(120_000);
    ask(&app, "alice", &proof).await.refused("proof_required");
    let listed = json!({ "proof": [wanted.challenge, "0"] });
    for bad in [json!({ "proof": 1 }), listed, json!({ "x": 1 }), json!([])] {
        ask(&app, "alice", &bad).await.refused("bad_request");
    }
    set_rules(&app, "{}", 3).await;
    app.ticket("alice").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_proof_sent_a_hundred_times_at_once_gets_one_ticket() {
    // All are judged before the first is let through: it is known to none of them that the proof is spent.
    let options = Options { captcha: Arc::new(AtOnce(Barrier::new(100))), ..Options::default() };
    let app = Arc::new(with_rules(r#"{"proof_bits":4,"captcha":true}"#, options).await);
    let wanted = ask(&app, "alice", &Value::Null).await.refused("proof_required").proof.unwrap();
    let proof = json!({ "proof": solve(&wanted) });
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (app, proof) = (app.clone(), proof.clone());
        asking.spawn(async move { ask(&app, "alice", &proof).await.status.as_u16() });
    }
    let answers = asking.join_all().await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_proof_is_not_spent_on_a_request_that_the_sales_limit_refuses() {
    let settings = vec![("SECKILL_SALE_LIMIT", "1/1")];
    let app = with_rules(r#"{"proof_bits":4}"#, Options { settings, ..Options::default() }).await;
    let proof_of = async |buyer: &'static str| {
        let wanted = ask(&app, buyer, &Value::Null).await.refused("proof_required").proof.unwrap();
        json!({ "proof": solve(&wanted) })
    };
    let (alices, bobs) = (proof_of("alice").await, proof_of("bob").await);
    ask(&app, "bob", &bobs).await.ok(200);
    // A spent one does not count against the limit, which would be open to whoever repeats it.
    app.clock.advance(1000);
    ask(&app, "bob", &bobs).await.refused("proof_required");
    let carols = proof_of("carol").await;
    ask(&app, "carol", &carols).await.ok(200);
    ask(&app, "alice", &alices).await.refused("rate_limited");
    app.clock.advance(1000);
    ask(&app, "alice", &alices).await.ok(200);
    ask(&app, "alice", &alices).await.refused("proof_required");
}

#[tokio::test]
async fn a_captcha_is_an_image_and_a_wrong_answer_costs_it() {
    let rules = r#"{"captcha":true}"#;
    let usual = with_rules(rules, Options::default()).await;
    let wanted = ask(&usual, "alice", &Value::Null).await.refused("proof_required").proof.unwrap();
    assert!(wanted.captcha.unwrap().starts_with("<svg "));

    let app = with_rules(rules, Options { captcha: Arc::new(Spelled), ..Options::default() }).await;
    let wanted = async || ask(&app, "alice", &Value::Null).await.refused("proof_required").proof.unwrap();
    let others = json!(wanted().await.captcha);
    for wrong in [json!("1"), json!(""), Value::Null, others] {
        let one = wanted().await;
        answer(&app, &one.challenge, &wrong).await.refused("proof_required");
        // What it was about is used up.
        answer(&app, &one.challenge, &json!(one.captcha)).await.refused("proof_required");
    }
    // The right one alone does it.
    let one = wanted().await;
    answer(&app, &one.challenge, &json!(one.captcha)).await.ok(200);
    answer(&app, &one.challenge, &json!(one.captcha)).await.refused("proof_required");
}

/// Asks for a ticket with this answer to a challenge's captcha.
async fn answer(app: &App, challenge: &str, captcha: &Value) -> crate::support::Answer {
    let proof = json!({ "challenge": challenge, "solution": "", "captcha": captcha });
    ask(app, "alice", &json!({ "proof": proof })).await
}

#[tokio::test]
async fn only_a_pass_from_the_waiting_room_gets_a_ticket() {
    let rules = r#"{"waiting_room":{"capacity":100,"admit_per_s":20}}"#;
    let app = with_rules(rules, Options { opens_in_ms: 60_000, ..Options::default() }).await;
    let room = "/api/v1/sales/sale-1/waiting-room";
    let gate = app.public.get("/api/v1/sales/sale-1/gate", None).await.ok(200);
    assert!(gate.body.len() <= 256 && gate.json()["room"] == json!(true));
    let shown = app.public.get(room, None).await.ok(200).json();
    assert_eq!(shown["seed"], Value::Null);
    let commitment = shown["commitment"].as_str().unwrap().to_owned();
    app.public.post(room, None, &json!({})).await.refused("unauthenticated");
    let token = app.token("alice");
    let held = app.public.post(room, Some(&token), &json!({})).await.ok(200).json();
    assert_eq!((&held["position"], &held["state"]), (&Value::Null, &json!("upcoming")));
    let mut stream = app.public.stream(&format!("{room}/events"), &token).await;
    assert!(stream.reads("upcoming").await);
    let stranger = app.token("mallory");
    // The same place at another gateway, and nobody else's.
    let other = app.beside(0).await;
    let again = json!({ "place": held["place"] });
    assert_eq!(other.public.post(room, Some(&token), &again).await.ok(200).json()["place"], held["place"]);
    let not_hers = other.public.post(room, Some(&stranger), &again).await.ok(200).json();
    assert_ne!(not_hers["place"], held["place"]);

    app.clock.advance(60_000);
    until("the opening", async || {
        let shown = app.public.get(room, None).await.ok(200).json();
        let seed = hex::decode(shown["seed"].as_str()?).unwrap();
        assert_eq!(hex::encode(Sha256::digest(seed)), commitment, "the seed that was promised");
        Some(())
    })
    .await;
    ask(&app, "alice", &json!({})).await.refused("waiting_room");
    until("a turn", async || {
        app.clock.advance(50);
        let now = app.public.post(room, Some(&token), &json!({})).await.ok(200).json();
        now["pass"].as_str().map(|_| ())
    })
    .await;
    assert!(stream.reads("event: let_in").await, "{}", stream.read);
    let told = app.public.post(room, Some(&token), &json!({})).await.ok(200).json();
    assert_eq!(told["place"], Value::Null, "the turn has come, and does not come again");
    let pass = told["pass"].clone();
    ask(&app, "alice", &json!({ "pass": pass })).await.ok(200);
    // The other gateway's look at the store may be a moment older.
    until("the other gateway", async || {
        (ask(&other, "alice", &json!({ "pass": pass })).await.status == 200).then_some(())
    })
    .await;
    ask(&app, "mallory", &json!({ "pass": pass })).await.refused("waiting_room");
    ask(&app, "alice", &json!({ "pass": held["place"] })).await.refused("waiting_room");
    app.clock.advance(120_001);
    ask(&app, "alice", &json!({ "pass": pass })).await.refused("waiting_room");
}

#[tokio::test]
async fn the_room_has_so_many_places_and_all_are_told_when_stock_is_gone() {
    let rules = r#"{"waiting_room":{"capacity":2,"admit_per_s":1}}"#;
    let app = with_rules(rules, Options { opens_in_ms: 60_000, ..Options::default() }).await;
    let room = "/api/v1/sales/sale-1/waiting-room";
    let mut streams = Vec::new();
    for buyer in ["alice", "bob"] {
        app.public.post(room, Some(&app.token(buyer)), &json!({})).await.ok(200);
        streams.push(app.public.stream(&format!("{room}/events"), &app.token(buyer)).await);
    }
    app.public.post(room, Some(&app.token("carol")), &json!({})).await.refused("overloaded");
    for stream in &mut streams {
        assert!(stream.reads("upcoming").await);
    }
    app.broadcast(1, 50, contract::events::SaleNews::SoldOut);
    for stream in &mut streams {
        assert!(stream.reads("sold_out").await);
    }
    app.public.get("/api/v1/sales/nothing/waiting-room", None).await.refused("sale_not_found");
}

const ROOM: &str = "/api/v1/sales/sale-1/waiting-room";

async fn place(app: &App, buyer: &str, body: &Value) -> Value {
    app.public.post(ROOM, Some(&app.token(buyer)), body).await.ok(200).json()
}

#[tokio::test]
async fn who_waits_when_the_rule_is_taken_back_goes_on_to_buy() {
    let rules = r#"{"waiting_room":{"capacity":100,"admit_per_s":1}}"#;
    let app = with_rules(rules, Options::default()).await;
    let bobs = json!({ "place": place(&app, "bob", &json!({})).await["place"] });
    place(&app, "alice", &json!({})).await;
    let mut stream = app.public.stream(&format!("{ROOM}/events"), &app.token("alice")).await;
    assert!(stream.reads("event: place").await);
    set_rules(&app, "{}", 3).await;
    assert!(stream.reads("event: let_in").await, "{}", stream.read);
    assert!(!stream.reads("more").await, "it ends");
    let told = stream.read.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    let pass = serde_json::from_str::<Value>(told).unwrap()["pass"].clone();
    ask(&app, "alice", &json!({ "pass": pass })).await.ok(200);
    // Who was not listening brings the place, and is told the same; for others there is no room.
    assert!(place(&app, "bob", &bobs).await["pass"].is_string());
    app.public.post(ROOM, Some(&app.token("carol")), &bobs).await.refused("not_found");
    app.public.post(ROOM, Some(&app.token("carol")), &json!({})).await.refused("not_found");
    // Nobody is kept for when there is a room again.
    let version = std::sync::atomic::AtomicU64::new(4);
    let set = async |rules: &'static str| {
        let version = version.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        set_rules(&app, rules, version).await;
    };
    until("an empty room", async || {
        set(rules).await;
        let shown = app.public.get(ROOM, None).await.ok(200).json();
        set("{}").await;
        (shown["waiting"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_waits_is_told_what_a_new_pace_means() {
    let app = with_rules(r#"{"waiting_room":{"capacity":9,"admit_per_s":1}}"#, Options::default()).await;
    for buyer in ["alice", "bob", "carol"] {
        place(&app, buyer, &json!({})).await;
        app.clock.advance(1);
    }
    let mut stream = app.public.stream(&format!("{ROOM}/events"), &app.token("carol")).await;
    assert!(stream.reads(r#""position":3,"wait_s":3"#).await);
    set_rules(&app, r#"{"waiting_room":{"capacity":9,"admit_per_s":3}}"#, 3).await;
    assert!(stream.reads(r#""position":3,"wait_s":1"#).await, "{}", stream.read);
}

#[tokio::test]
async fn a_drawn_place_brought_after_the_opening_has_no_number_until_it_is_counted() {
    let rules = r#"{"waiting_room":{"capacity":9,"admit_per_s":1}}"#;
    let app = with_rules(rules, Options { opens_in_ms: 60_000, ..Options::default() }).await;
    let held = json!({ "place": place(&app, "alice", &json!({})).await["place"] });
    let other = app.beside(0).await;
    show_the_draw(&other).await;
    assert_eq!(place(&other, "alice", &held).await["position"], Value::Null);
    until("its number", async || (place(&other, "alice", &json!({})).await["position"] == 1).then_some(()))
        .await;
}

/// Tells a gateway whose sale has not opened yet that nothing is left: the draw is shown there, and nobody is let in.
async fn show_the_draw(gateway: &App) {
    gateway.broadcast(1, 50, contract::events::SaleNews::SoldOut);
    until("the news", async || {
        let shown = gateway.public.get(ROOM, None).await.ok(200).json();
        shown["seed"].is_string().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_place_that_nobody_renews_for_a_minute_lapses() {
    let rules = r#"{"waiting_room":{"capacity":9,"admit_per_s":1}}"#;
    let app = with_rules(rules, Options { opens_in_ms: 600_000, ..Options::default() }).await;
    let brings = |told: &Value| json!({ "place": told["place"] });
    let (alices, bobs) = (place(&app, "alice", &json!({})).await, place(&app, "bob", &json!({})).await);
    app.clock.advance(30_000);
    let renewed = place(&app, "alice", &brings(&alices)).await;
    assert_ne!(renewed["place"], alices["place"]);
    app.clock.advance(30_001);
    let other = app.beside(0).await;
    show_the_draw(&other).await;
    // Who comes now has a number at once, and who took part in the draw stands before them.
    assert_eq!(place(&other, "bob", &brings(&bobs)).await["position"], 1, "he comes now");
    app.clock.advance(1);
    place(&other, "alice", &brings(&renewed)).await;
    let number = async |buyer: &'static str| place(&other, buyer, &json!({})).await["position"].clone();
    until("her number", async || (number("alice").await == 1).then_some(())).await;
    assert_eq!(number("bob").await, 2);
}

#[tokio::test]
async fn who_listens_is_told_a_place_that_is_good_at_another_gateway() {
    let rules = r#"{"waiting_room":{"capacity":9,"admit_per_s":1}}"#;
    let app = with_rules(rules, Options { opens_in_ms: 600_000, ..Options::default() }).await;
    place(&app, "alice", &json!({})).await;
    let mut stream = app.public.stream(&format!("{ROOM}/events"), &app.token("alice")).await;
    assert!(stream.reads(r#""wait_s":null}"#).await);
    stream.read.clear();
    app.clock.advance(60_001);
    assert!(stream.reads(r#""wait_s":null}"#).await, "nothing else has changed");
    let told = stream.read.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let held = json!({ "place": serde_json::from_str::<Value>(told).unwrap()["place"] });
    let other = app.beside(0).await;
    show_the_draw(&other).await;
    place(&other, "bob", &json!({})).await;
    app.clock.advance(1);
    place(&other, "alice", &held).await;
    until("her number", async || (place(&other, "alice", &json!({})).await["position"] == 1).then_some(()))
        .await;
}
