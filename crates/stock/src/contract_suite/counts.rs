//! Settling, releasing, totals, terms, and the change counter.

use domain::Phase;

use super::{Harness, Stage, TICKET_MS, first};
use crate::{ReserveOutcome, StockConfig};

pub(super) async fn settle_and_release_are_idempotent_in_any_order(harness: &dyn Harness) {
    let stage = Stage::open(harness, "idempotent", 4, 4).await;
    for n in 1..=3 {
        assert_eq!(stage.reserve(n, "ann", 1).await, ReserveOutcome::Reserved);
    }
    for _ in 0..2 {
        stage.store.settle(&stage.sale, &[first(1)]).await.expect("settle");
    }
    assert_eq!(stage.counts().await, (1, 2, 1));
    let once = stage.store.release(&stage.sale, first(1)).await.expect("release");
    let twice = stage.store.release(&stage.sale, first(1)).await.expect("release");
    assert_eq!((once.units, twice.units), (1, 0), "units come back once");
    // The release overtook the settle: the settle must not take the unit again.
    stage.store.release(&stage.sale, first(2)).await.expect("release");
    stage.store.settle(&stage.sale, &[first(2)]).await.expect("settle");
    assert_eq!(stage.counts().await, (3, 1, 0));
    // Nothing is known of this one: both do nothing.
    stage.store.settle(&stage.sale, &[first(9)]).await.expect("settle");
    assert_eq!(stage.store.release(&stage.sale, first(9)).await.expect("release").units, 0);
    assert_eq!(stage.counts().await, (3, 1, 0));
}

pub(super) async fn many_settle_in_one_call(harness: &dyn Harness) {
    const MANY: u32 = 250;
    let stage = Stage::open(harness, "many", MANY + 1, MANY).await;
    for n in 1..=MANY {
        assert_eq!(stage.reserve(u64::from(n), "ann", 1).await, ReserveOutcome::Reserved);
    }
    stage.store.settle(&stage.sale, &[first(3)]).await.expect("settle");
    stage.store.release(&stage.sale, first(4)).await.expect("release");
    // One of them settled before, one is given back, one was never there, and one is named twice.
    let ids: Vec<_> = (1..=MANY).chain([MANY + 9, 7]).map(|n| first(u64::from(n))).collect();
    stage.store.settle(&stage.sale, &ids).await.expect("settle");
    assert_eq!(stage.counts().await, (2, 0, MANY - 1));
    stage.store.settle(&stage.sale, &[]).await.expect("nothing to settle");
    assert_eq!(stage.counts().await, (2, 0, MANY - 1));
}

pub(super) async fn totals_and_terms_are_versioned(harness: &dyn Harness) {
    let stage = Stage::open(harness, "versions", 1, 5).await;
    stage.reserve(1, "ann", 1).await;
    let raised = stage.store.set_total(&stage.sale, 3, 2).await.expect("set");
    assert!(raised.from_zero && raised.units == 2);
    let again = stage.store.set_total(&stage.sale, 3, 2).await.expect("set");
    let older = stage.store.set_total(&stage.sale, 9, 1).await.expect("set");
    assert_eq!((again.units, older.units), (0, 0), "told twice or late, it changes nothing");
    assert_eq!(stage.counts().await, (2, 1, 0));
    let ended = StockConfig { version: 3, phase: Phase::Ended, ..stage.config };
    let paused = StockConfig { version: 2, phase: Phase::Paused, ..stage.config };
    stage.store.configure(&stage.sale, &ended).await.expect("configure");
    stage.store.configure(&stage.sale, &paused).await.expect("configure");
    let view = stage.store.view(&stage.sale).await.expect("there");
    assert_eq!(view.inputs.phase, Phase::Ended, "an older version changes nothing");
}

pub(super) async fn changes_rise_when_stock_runs_out_and_comes_back(harness: &dyn Harness) {
    let stage = Stage::open(harness, "changes", 1, 1).await;
    let start = stage.store.view(&stage.sale).await.expect("there").change;
    stage.reserve(1, "ann", 1).await;
    let ReserveOutcome::SoldOut(out) = stage.reserve(2, "bob", 1).await else { panic!("must be sold out") };
    assert!(out > start);
    let back = stage.store.release(&stage.sale, first(1)).await.expect("release");
    assert!(back.from_zero && back.change > out);
    stage.reserve(3, "cat", 1).await;
    let ReserveOutcome::SoldOut(again) = stage.reserve(4, "dan", 1).await else { panic!("must be sold out") };
    assert!(again > back.change, "a flag set by the older answer must not outlive the newer news");
}

pub(super) async fn stale_finds_old_unsettled_reservations_only(harness: &dyn Harness) {
    const AGE_MS: i64 = 2_000;
    let stage = Stage::open(harness, "stale", 9, 9).await;
    for n in 1..=4 {
        stage.reserve(n, "ann", 1).await;
    }
    stage.store.settle(&stage.sale, &[first(1)]).await.expect("settle");
    stage.store.release(&stage.sale, first(2)).await.expect("release");
    assert_eq!(stage.store.stale(&stage.sale, AGE_MS, 9).await, Ok(vec![]), "too young");
    harness.pass(AGE_MS + 100).await;
    stage.reserve(5, "ann", 1).await;
    let found = stage.store.stale(&stage.sale, AGE_MS, 9).await.expect("stale");
    let ids: Vec<_> = found.iter().map(|held| held.id).collect();
    assert_eq!(ids, [first(3), first(4)], "oldest first, the young and the done left out");
    assert_eq!(found[0].quantity, 1);
    assert_eq!(found[0].buyer.as_str(), "ann");
    assert_eq!(stage.store.stale(&stage.sale, AGE_MS, 1).await.expect("stale").len(), 1, "bounded");
}

pub(super) async fn a_forgotten_id_that_reserves_once_more_is_as_young_as_that(harness: &dyn Harness) {
    let stage = Stage::open(harness, "again", 9, 9).await;
    stage.reserve(1, "ann", 1).await;
    stage.store.release(&stage.sale, first(1)).await.expect("release");
    stage.reserve(2, "ann", 1).await;
    harness.pass(TICKET_MS).await;
    // A late payment may ask again under its id, with another expiry.
    assert_eq!(stage.reserve(1, "ann", 1).await, ReserveOutcome::Reserved);
    let found = stage.store.stale(&stage.sale, 0, 9).await.expect("stale");
    let ids: Vec<_> = found.iter().map(|held| held.id).collect();
    assert_eq!(ids, [first(2), first(1)], "each once, by its present reservation");
    let found = stage.store.stale(&stage.sale, TICKET_MS, 9).await.expect("stale");
    assert_eq!(found.len(), 1, "the older one is not hidden by the younger");
}
