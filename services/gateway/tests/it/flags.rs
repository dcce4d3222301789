//! The sold-out flag: who sets it, who clears it, and what does neither.

use std::sync::atomic::Ordering;

use contract::events::{Change, SaleNews};
use domain::ReservationId;
use serde_json::json;
use stock::{ReserveOutcome, StockStore};
use tokio::time::{Duration, Instant};

use crate::support::app::{SECOND_SALE, sale_id};
use crate::support::{App, Options, until};

async fn is_flagged(app: &App) -> bool {
    // What is no ticket is refused as such, unless the flag comes first.
    app.order("nobody", "x", 1).await.status == 409
}

async fn flagged(app: &App) {
    until("the flag", async || is_flagged(app).await.then_some(())).await;
}

/// Waits until all that was broadcast so far has been dealt with. News is heard in order, and this is the last of it:
/// the sale beside, which has nothing to sell, is told to be sold out, then available.
async fn all_heard(app: &App, beside: &str, n: u64) {
    let (path, token) = (format!("{beside}/orders"), app.token("nobody"));
    let no_order = json!({ "ticket": "x", "quantity": 1 });
    for (n, news, is_sold_out) in [(n, SaleNews::SoldOut, true), (n + 1, SaleNews::Available, false)] {
        app.broadcast_of(SECOND_SALE, Change { epoch: 1, n }, news);
        until("the sale beside", async || {
            let answer = app.public.post(&path, Some(&token), &no_order).await;
            ((answer.status == 409) == is_sold_out).then_some(())
        })
        .await;
    }
}

async fn cleared(app: &App) {
    until("no flag", async || (!is_flagged(app).await).then_some(())).await;
}

#[tokio::test]
async fn the_stores_answer_sets_it_and_then_nothing_is_asked_any_more() {
    let app = App::with(Options { stock: 1, ..Options::default() }).await;
    let (late, _) = app.ticket("bob").await;
    // However young this look at the store is, the gate must not show it after the first refusal.
    app.gate_is("open").await;
    app.buy("alice").await;
    assert!(!is_flagged(&app).await, "nobody was told sold out yet");
    app.order("bob", &late, 1).await.refused("sold_out");
    app.gate_is("sold_out").await;
    let asked = app.stock.reserves.load(Ordering::SeqCst);
    for _ in 0..100 {
        app.order("bob", &late, 1).await.refused("sold_out");
        app.ticket_answer("carol").await.refused("sold_out");
    }
    assert_eq!(app.stock.reserves.load(Ordering::SeqCst), asked, "a refusal touches no network");
}

#[tokio::test]
async fn not_enough_sets_no_flag() {
    let app = App::with(Options { stock: 1, ..Options::default() }).await;
    let (ticket, _) = app.ticket("alice").await;
    app.order("alice", &ticket, 2).await.refused("not_enough");
    assert!(!is_flagged(&app).await);
    let (bobs, _) = app.ticket("bob").await;
    app.order("bob", &bobs, 1).await.ok(202);
}

#[tokio::test]
async fn a_lost_broadcast_heals_within_a_second_and_a_bit() {
    let app = App::with(Options { stock: 1, ..Options::default() }).await;
    let (late, _) = app.ticket("bob").await;
    let (_, order) = app.buy("alice").await;
    app.order("bob", &late, 1).await.refused("sold_out");
    app.stock.inner.release(&sale_id(), ReservationId::first(order)).await.unwrap();
    let released = Instant::now();
    // Nothing is broadcast.
    until("bob's unit", async || (app.order("bob", &late, 1).await.status == 202).then_some(())).await;
    // On a machine that does much else at the same time, too.
    assert!(released.elapsed() < Duration::from_secs(4), "after {:?}", released.elapsed());
}

#[tokio::test]
async fn a_broadcast_clears_it_and_an_older_one_changes_nothing() {
    let app = App::with(Options { stock: 0, ..Options::default() }).await;
    let beside = app.second_sale(0).await;
    app.broadcast(1, 10, SaleNews::SoldOut);
    flagged(&app).await;
    // The probe must not clear what this test watches: the store has nothing.
    app.broadcast(1, 9, SaleNews::Available);
    app.broadcast(1, 10, SaleNews::Available);
    app.broadcast(1, 10, SaleNews::Opened);
    all_heard(&app, &beside, 10).await;
    assert!(is_flagged(&app).await, "older news cleared the flag");
    app.broadcast(1, 11, SaleNews::Available);
    cleared(&app).await;
    app.broadcast(1, 10, SaleNews::SoldOut);
    app.broadcast(0, 99, SaleNews::SoldOut);
    all_heard(&app, &beside, 20).await;
    assert!(!is_flagged(&app).await, "older news set the flag");
    app.broadcast(1, 12, SaleNews::SoldOut);
    flagged(&app).await;
}

#[tokio::test]
async fn a_late_sold_out_answer_does_not_outvote_newer_news() {
    let app = App::start().await;
    app.broadcast(1, 20, SaleNews::Available);
    let (ticket, _) = app.ticket("alice").await;
    // Wait until the broadcast counts: an answer of the same age then sets the flag.
    until("the news", async || {
        app.stock.script.lock().push(ReserveOutcome::SoldOut(Change { epoch: 1, n: 19 }));
        app.order("alice", &ticket, 1).await.refused("sold_out");
        (!is_flagged(&app).await).then_some(())
    })
    .await;
    app.order("alice", &ticket, 1).await.ok(202);
}

#[tokio::test]
async fn clearing_the_flag_forgets_the_decisions_of_the_sale() {
    let app = App::with(Options { stock: 2, ..Options::default() }).await;
    let (alices, order) = app.ticket("alice").await;
    app.order("alice", &alices, 1).await.ok(202);
    let (bobs, _) = app.ticket("bob").await;
    app.order("bob", &bobs, 2).await.refused("not_enough");
    let asked = app.stock.reserves.load(Ordering::SeqCst);
    app.order("bob", &bobs, 2).await.refused("not_enough");
    assert_eq!(app.stock.reserves.load(Ordering::SeqCst), asked, "the same question a moment later");
    app.broadcast(1, 30, SaleNews::SoldOut);
    flagged(&app).await;
    app.stock.inner.release(&sale_id(), ReservationId::first(order)).await.unwrap();
    app.broadcast(1, 31, SaleNews::Available);
    cleared(&app).await;
    app.order("bob", &bobs, 2).await.ok(202);
}

#[tokio::test]
async fn missed_broadcasts_lead_to_a_look_at_everything() {
    let app = App::start().await;
    app.behind.sales.lock()[0].sale.title = "Renamed".into();
    app.behind.sales.lock()[0].version = 2;
    // More than the listener holds: it is told that it missed some.
    for _ in 0..100 {
        app.broadcast(1, 0, SaleNews::Available);
    }
    let started = Instant::now();
    until("the new title", async || {
        let sale = app.public.get("/api/v1/sales/sale-1", None).await.ok(200).json();
        (sale["title"] == "Renamed").then_some(())
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(2), "sooner than by the clock");
}

#[tokio::test]
async fn the_gate_and_tickets_look_at_the_store_once_per_fifty_milliseconds() {
    let app = App::start().await;
    let started = Instant::now();
    let before = app.stock.views.load(Ordering::SeqCst);
    for _ in 0..200 {
        app.public.get("/api/v1/sales/sale-1/gate", None).await.ok(200);
        app.ticket("alice").await;
    }
    let looks = app.stock.views.load(Ordering::SeqCst) - before;
    let allowed = started.elapsed().as_millis() / 50 + 2;
    assert!(u128::try_from(looks).unwrap() <= allowed, "{looks} looks, {allowed} allowed");
}
