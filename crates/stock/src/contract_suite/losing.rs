//! Losing the state, and writing it afresh.

use contract::internal::LiveOrder;
use domain::Epoch;

use super::{Harness, Stage, buyer_id, first};
use crate::{Rebuild, ReserveOutcome, StockError};

fn live(n: u64, buyer: &str, quantity: u32) -> LiveOrder {
    LiveOrder { reservation: first(n), buyer: buyer_id(buyer), quantity }
}

fn rebuild_of(stage: &Stage<'_>, epoch: u64, token: u64) -> Rebuild {
    Rebuild { sale: stage.sale.clone(), epoch: Epoch(epoch), token }
}

pub(super) async fn a_lost_sale_is_unknown_until_rebuilt(harness: &dyn Harness) {
    let stage = Stage::open(harness, "lost", 2, 1).await;
    stage.reserve(1, "ann", 1).await;
    harness.lose().await;
    let unknown = StockError::UnknownSale(stage.sale.clone());
    let request = stage.request(1, "ann", 1).await;
    assert_eq!(stage.store.reserve(&request).await, Err(unknown.clone()));
    assert_eq!(stage.store.peek(&stage.sale, first(1)).await, Err(unknown.clone()));
    assert_eq!(stage.store.settle(&stage.sale, &[first(1)]).await, Err(unknown.clone()));
    assert_eq!(stage.store.release(&stage.sale, first(1)).await, Err(unknown.clone()));
    assert_eq!(stage.store.set_total(&stage.sale, 9, 9).await, Err(unknown.clone()));
    let begun = rebuild_of(&stage, 2, 7);
    assert_eq!(stage.store.rebuild_begin(&begun).await, Ok(true));
    assert_eq!(stage.store.view(&stage.sale).await, Err(unknown), "begun is not finished");
}

pub(super) async fn a_rebuild_restores_what_the_ledger_knows(harness: &dyn Harness) {
    let mut stage = Stage::open(harness, "restore", 5, 2).await;
    harness.lose().await;
    // Loading is by id: a batch that comes twice counts once.
    let rows = [live(1, "ann", 2), live(2, "bob", 1), live(2, "bob", 1)];
    stage.rebuild(Epoch(2), 5, &rows).await;
    assert_eq!(stage.counts().await, (2, 0, 3));
    assert_eq!(
        stage.reserve(3, "ann", 1).await,
        ReserveOutcome::StaleTicket,
        "tickets of the lost state are void"
    );
    stage.epoch = Epoch(2);
    assert_eq!(stage.reserve(1, "ann", 2).await, ReserveOutcome::Settled);
    assert_eq!(stage.reserve(3, "ann", 1).await, ReserveOutcome::LimitReached, "buyers' units are restored");
    assert_eq!(stage.reserve(4, "bob", 1).await, ReserveOutcome::Reserved);
    let back = stage.store.release(&stage.sale, first(1)).await.expect("release");
    assert_eq!(back.units, 2, "a restored order gives its units back like any other");
}

pub(super) async fn a_rebuild_only_rises_above_what_is_there(harness: &dyn Harness) {
    let stage = Stage::open(harness, "rise", 3, 1).await;
    stage.reserve(1, "ann", 1).await;
    for epoch in [0, 1] {
        assert_eq!(stage.store.rebuild_begin(&rebuild_of(&stage, epoch, 7)).await, Ok(false));
    }
    let above = rebuild_of(&stage, 2, 7);
    assert_eq!(stage.counts().await, (2, 1, 0), "a rebuild that is refused changes nothing");
    assert_eq!(stage.store.rebuild_begin(&above).await, Ok(true));
    let unknown = StockError::UnknownSale(stage.sale.clone());
    assert_eq!(stage.store.view(&stage.sale).await, Err(unknown.clone()), "the old state is out of force");
    let request = stage.request(2, "bob", 1).await;
    assert_eq!(stage.store.reserve(&request).await, Err(unknown.clone()), "what the ledger would reject");
    assert_eq!(stage.store.release(&stage.sale, first(1)).await, Err(unknown));
    assert_eq!(stage.store.rebuild_finish(&above, &stage.config, 3, 1).await, Ok(true));
    assert_eq!(stage.counts().await, (3, 0, 0));
    assert!(stage.store.view(&stage.sale).await.expect("there").change.epoch == 2);
}

pub(super) async fn a_rebuild_gives_way_to_none_of_an_older_epoch(harness: &dyn Harness) {
    let stage = Stage::open(harness, "older", 3, 1).await;
    harness.lose().await;
    let (newer, older) = (rebuild_of(&stage, 3, 1), rebuild_of(&stage, 2, 2));
    assert_eq!(stage.store.rebuild_begin(&newer).await, Ok(true));
    // Nothing is in force that it could be compared with; but a barrier for a later epoch may be on its way.
    assert_eq!(stage.store.rebuild_begin(&older).await, Ok(false));
    assert_eq!(stage.store.rebuild_finish(&older, &stage.config, 3, 1).await, Ok(false));
    assert_eq!(stage.store.rebuild_finish(&newer, &stage.config, 3, 1).await, Ok(true), "it is not void");
    assert_eq!(stage.store.view(&stage.sale).await.expect("there").epoch, Epoch(3));
}

pub(super) async fn a_paused_rebuilder_cannot_lay_an_old_truth_over_a_new_one(harness: &dyn Harness) {
    let stage = Stage::open(harness, "paused", 3, 1).await;
    let (slow, quick) = (rebuild_of(&stage, 2, 1), rebuild_of(&stage, 2, 2));
    assert_eq!(stage.store.rebuild_begin(&slow).await, Ok(true));
    assert_eq!(stage.store.rebuild_begin(&quick).await, Ok(true), "whoever begins last writes");
    assert_eq!(stage.store.rebuild_load(&slow, &[live(1, "ann", 1)]).await, Ok(false));
    assert_eq!(stage.store.rebuild_finish(&quick, &stage.config, 3, 1).await, Ok(true));
    assert_eq!(stage.store.rebuild_finish(&slow, &stage.config, 3, 1).await, Ok(false));
    // Lost again: the slow one's permission went with it, although nothing higher is there now.
    harness.lose().await;
    assert_eq!(stage.store.rebuild_finish(&slow, &stage.config, 3, 1).await, Ok(false));
    assert_eq!(stage.store.rebuild_finish(&quick, &stage.config, 3, 1).await, Ok(false), "once only");
}
