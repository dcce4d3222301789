//! The ledger beside the stock store: what the store is written from, which of them is told a total first, and what the
//! audit says when they disagree.

use std::sync::atomic::Ordering;

use contract::api::Audit;
use domain::Epoch;
use hyper::{Method, StatusCode};
use stock::{StockError, StockStore};

use super::{Stage, live};

#[tokio::test]
async fn a_snapshot_that_broke_off_or_is_of_another_epoch_is_not_put_in_force() {
    let stage = Stage::open().await;
    stage.ledger.live.lock().push(live(1, "ann"));
    let row = stage.inventory.sales.get(&stage.sale).await.unwrap();
    let nothing = Err(StockError::UnknownSale(stage.sale.clone()));
    stage.ledger.at_epoch(2);
    stage.ledger.breaks_off.store(true, Ordering::SeqCst);
    let why = stage.inventory.write_stock(&row, Epoch(2)).await.unwrap_err();
    assert!(why.contains("broke off"), "{why}");
    assert_eq!(stage.epoch().await, nothing, "ann's unit would be sold again");
    stage.ledger.breaks_off.store(false, Ordering::SeqCst);
    stage.ledger.at_epoch(3);
    let why = stage.inventory.write_stock(&row, Epoch(2)).await.unwrap_err();
    assert!(why.contains("overtaken"), "{why}");
    assert_eq!(stage.epoch().await, nothing, "the ledger rejects what is reserved under this one");
    // The control: all of it, and of the epoch that is written.
    stage.ledger.at_epoch(2);
    assert_eq!(stage.inventory.write_stock(&row, Epoch(2)).await, Ok(Epoch(2)));
    let counts = stage.stock.snapshot(&stage.sale).await.unwrap();
    assert_eq!((counts.free, counts.settled), (4, 1));
}

#[tokio::test]
async fn a_higher_total_is_in_the_ledger_before_it_is_in_the_store() {
    let stage = Stage::open().await;
    let mut row = stage.inventory.sales.get(&stage.sale).await.unwrap();
    row.terms.stock = 9;
    row.total_version += 1;
    let total = async || stage.stock.snapshot(&stage.sale).await.unwrap().total;
    stage.ledger.is_away.store(true, Ordering::SeqCst);
    assert!(stage.inventory.push(&row).await.is_err());
    assert_eq!(total().await, 5, "the store lets nobody in whom the ledger does not take");
    stage.ledger.is_away.store(false, Ordering::SeqCst);
    assert_eq!(stage.inventory.push(&row).await, Ok(()));
    assert_eq!(total().await, 9);
}

#[tokio::test]
async fn the_audit_tells_of_stores_that_disagree_and_of_units_sold_twice() {
    let stage = Stage::open().await;
    let findings = async || {
        let (status, body) = stage.ask(Method::GET, "/internal/v1/audit", &()).await;
        assert_eq!(status, StatusCode::OK);
        let audit: Audit = serde_json::from_slice(&body).unwrap();
        assert_eq!(audit.ok, audit.findings.is_empty());
        audit.findings
    };
    let taken = |units| stage.ledger.allocation.lock().as_mut().unwrap().counts.taken = units;
    assert_eq!(findings().await, []);
    taken(1);
    let [finding] = &findings().await[..] else { panic!("that, and nothing else") };
    assert_eq!((finding.invariant.as_str(), finding.sale.as_ref()), ("I3", Some(&stage.sale)));
    assert!(finding.detail.contains("taken 1 of 5"), "{}", finding.detail);
    // Also of a sale whose stock is lost.
    stage.stock.lose_everything();
    assert_eq!(findings().await, []);
    taken(6);
    let [finding] = &findings().await[..] else { panic!("that, and nothing else") };
    assert_eq!((finding.invariant.as_str(), finding.sale.as_ref()), ("I1", Some(&stage.sale)));
}
