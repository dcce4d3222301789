//! Whose turn it is to be rebuilt, and whose is over.

use super::*;

#[tokio::test]
async fn a_permission_younger_than_its_epoch_rebuilds_nothing() {
    let stage = Stage::open().await;
    stage.stock.lose_everything();
    // Another replica rebuilt it at epoch 2 in between, it sold, and was lost once more.
    stage.ledger.rises.store(true, Ordering::SeqCst);
    let tried = stage.inventory.try_recover(&stage.sale, Fault::Lost).await;
    assert!(tried.unwrap_err().contains("overtaken"));
    assert_eq!(stage.epoch().await, Err(StockError::UnknownSale(stage.sale.clone())));
    assert_eq!(stage.in_lane().await, 0, "no barrier that would have nothing before it");
    // The next attempt asks for the epoch after that.
    stage.play_consumer(3);
    stage.recover(Fault::Lost).await;
    assert_eq!(stage.epoch().await, Ok(3));
}

#[tokio::test]
async fn a_sale_that_is_over_waits_for_a_turn_of_its_own() {
    let stage = Stage::open().await;
    let (ended, _) = stage.ask(Method::POST, "/internal/v1/admin/sales/lamp/end", &()).await;
    assert_eq!(ended, StatusCode::OK);
    stage.stock.lose_everything();
    // As many sales that sell are being rebuilt as may be.
    let turns = u32::try_from(REBUILDS_MAX).unwrap();
    let _all = stage.inventory.rebuild_slots.acquire_many(turns).await.unwrap();
    stage.play_consumer(2);
    stage.recover(Fault::Lost).await;
    assert_eq!(stage.epoch().await, Ok(2));
}

#[tokio::test]
async fn a_sale_that_sells_waits_for_none_that_is_over() {
    let stage = Stage::open().await;
    stage.stock.lose_everything();
    let turns = u32::try_from(ENDED_REBUILDS_MAX).unwrap();
    let _all = stage.inventory.ended_rebuild_slots.acquire_many(turns).await.unwrap();
    stage.play_consumer(2);
    stage.recover(Fault::Lost).await;
}
