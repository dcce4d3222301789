//! What is read: lists, allocations, snapshots, the outbox, the audit.

use contract::internal::SnapshotLine;
use domain::{Epoch, OrderStatus, ReservationId};
use futures_util::StreamExt;

use super::bench::{Bench, buyer, id, order, sale};
use crate::order_store::SnapshotLines;

pub(in crate::order_store) async fn lists_go_back_in_time_page_by_page(bench: Bench) {
    let bench = bench.with_sale(99, 99).await;
    let batch: Vec<_> = (1..=5).map(|n| order(n, "a", 1)).chain(std::iter::once(order(6, "b", 1))).collect();
    bench.commit(&batch).await;
    let page = |after| bench.store.orders_of(batch_buyer(), after, 2);
    fn batch_buyer() -> &'static domain::BuyerId {
        static BUYER: std::sync::OnceLock<domain::BuyerId> = std::sync::OnceLock::new();
        BUYER.get_or_init(|| buyer("a"))
    }
    let ids = |page: Vec<crate::order_store::OrderRecord>| page.iter().map(|o| o.id).collect::<Vec<_>>();
    assert_eq!(ids(page(None).await.unwrap()), [id(5), id(4)]);
    assert_eq!(ids(page(Some(id(4))).await.unwrap()), [id(3), id(2)]);
    assert_eq!(ids(page(Some(id(2))).await.unwrap()), [id(1)]);
    assert_eq!(bench.store.order(id(77)).await.unwrap(), None);
}

pub(in crate::order_store) async fn allocations_only_rise_and_only_by_newer_versions(bench: Bench) {
    assert_eq!(bench.store.allocation(&sale()).await.unwrap(), None);
    let bench = bench.with_sale(5, 1).await;
    bench.put(&sale(), 9, 1, 1).await;
    let total = || async { bench.store.allocation(&sale()).await.unwrap().unwrap().guard.total };
    assert_eq!(total().await, 5, "the same version changes nothing");
    bench.commit(&[order(1, "a", 1)]).await;
    bench.put(&sale(), 7, 3, 1).await;
    bench.put(&sale(), 6, 2, 1).await;
    let record = bench.store.allocation(&sale()).await.unwrap().unwrap();
    assert_eq!((record.guard.total, record.total_version, record.guard.taken), (7, 3, 1));
    assert_eq!((record.guard.epoch, record.counts.pending_payment), (Epoch(1), 1));
}

async fn read(mut lines: SnapshotLines) -> Vec<SnapshotLine> {
    let mut all = Vec::new();
    while let Some(line) = lines.next().await {
        all.push(line.unwrap());
    }
    all
}

pub(in crate::order_store) async fn a_snapshot_is_one_moment_of_the_live_orders(bench: Bench) {
    assert!(bench.store.snapshot(&sale()).await.unwrap().is_none());
    let bench = bench.with_sale(2_000, 1).await;
    let batch: Vec<_> = (1..=1_200).map(|n| order(n, &format!("b{n}"), 1)).collect();
    bench.commit(&batch).await;
    bench.store.cancel(id(2), &buyer("b2")).await.unwrap();
    bench.pay(1, "p1").await;
    let lines = bench.store.snapshot(&sale()).await.unwrap().unwrap();
    bench.commit(&[order(1_201, "later", 1)]).await;
    let lines = read(lines).await;
    let head = SnapshotLine::Head { epoch: Epoch(1), total: 2_000, total_version: 1, taken: 1_199 };
    assert_eq!((lines.first(), lines.last()), (Some(&head), Some(&SnapshotLine::End)));
    let live: Vec<_> = lines
        .into_iter()
        .filter_map(|line| if let SnapshotLine::Live(live) = line { Some(live) } else { None })
        .flatten()
        .collect();
    assert_eq!(live.len(), 1_199, "what came after the head is not in it");
    assert_eq!(live[0].reservation, ReservationId::first(id(1)));
    assert!(live.iter().all(|o| o.reservation.order != id(2)));
}

pub(in crate::order_store) async fn the_outbox_keeps_what_was_not_told(bench: Bench) {
    let bench = bench.with_sale(9, 9).await;
    bench.commit(&[order(1, "a", 1)]).await;
    bench.commit(&[order(2, "a", 1)]).await;
    bench.store.outbox_grew().await;
    let rows = bench.store.outbox(10).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows[0].seq < rows[1].seq && rows[0].event.id != rows[1].event.id);
    bench.store.outbox_told(&[rows[0].seq]).await.unwrap();
    assert_eq!(bench.store.outbox(10).await.unwrap(), rows[1..], "the same row is the same event");
}

pub(in crate::order_store) async fn the_audit_is_silent_after_all_of_a_life(bench: Bench) {
    let bench = bench.with_sale(6, 2).await;
    let batch: Vec<_> = (1..=7).map(|n| order(n, &format!("b{n}"), 1)).collect();
    bench.commit(&batch).await;
    bench.pay(1, "p1").await;
    bench.pay(2, "p2").await;
    bench.store.refund_order(id(2)).await.unwrap();
    bench.store.cancel(id(3), &buyer("b3")).await.unwrap();
    bench.pass_deadline().await;
    bench.pay(4, "p4").await;
    bench.store.commit_late("p4", Epoch(1)).await.unwrap();
    bench.store.expire(&[id(5)]).await.unwrap();
    let counts = bench.store.allocation(&sale()).await.unwrap().unwrap().counts;
    assert_eq!((counts.taken, counts.pending_payment, counts.paid), (3, 1, 2));
    assert_eq!((counts.cancelled, counts.expired, counts.rejected, counts.refunded), (1, 1, 1, 1));
    assert_eq!(bench.status(7).await, OrderStatus::Rejected);
    bench.assert_sound().await;
}
