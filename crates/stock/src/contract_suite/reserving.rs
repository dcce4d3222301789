//! Reserving: every answer, in the order in which they outrank each other.

use domain::{Epoch, Phase, ReservationId};

use super::{Harness, Stage, TICKET_MS, WINDOW_MS, order};
use crate::{ClosedReason, Peek, ReserveOutcome, ReserveRequest, StockConfig};

pub(super) async fn known_ids_come_first(harness: &dyn Harness) {
    let stage = Stage::open(harness, "known", 1, 1).await;
    assert_eq!(stage.reserve(1, "ann", 1).await, ReserveOutcome::Reserved);
    // Sold out, at the limit, paused: the same id still gets its own answer.
    let paused = StockConfig { version: 2, phase: Phase::Paused, ..stage.config };
    stage.store.configure(&stage.sale, &paused).await.expect("configure");
    assert_eq!(stage.reserve(1, "ann", 1).await, ReserveOutcome::AlreadyReserved);
    assert_eq!(stage.reserve(1, "ann", 2).await, ReserveOutcome::QuantityMismatch);
    assert_eq!(stage.counts().await, (0, 1, 0), "a repeat takes nothing");
    stage.store.settle(&stage.sale, &[super::first(1)]).await.expect("settle");
    assert_eq!(stage.reserve(1, "ann", 1).await, ReserveOutcome::Settled);
    stage.store.release(&stage.sale, super::first(1)).await.expect("release");
    assert_eq!(stage.reserve(1, "ann", 1).await, ReserveOutcome::Released);
}

pub(super) async fn windows_and_phases_close_a_sale(harness: &dyn Harness) {
    let stage = Stage::open(harness, "window", 5, 1).await;
    let set = async |version, change: fn(&mut StockConfig)| {
        let mut config = StockConfig { version, ..stage.config };
        change(&mut config);
        stage.store.configure(&stage.sale, &config).await.expect("configure");
    };
    set(2, |c| c.opens_at = c.opens_at.plus(WINDOW_MS / 2)).await;
    assert_eq!(stage.reserve(1, "ann", 1).await, ReserveOutcome::Closed(ClosedReason::NotOpen));
    set(3, |c| c.phase = Phase::Paused).await;
    assert_eq!(stage.reserve(1, "ann", 1).await, ReserveOutcome::Closed(ClosedReason::Paused));
    set(4, |_| {}).await;
    assert_eq!(stage.reserve(1, "ann", 1).await, ReserveOutcome::Reserved, "resumed");
    set(5, |c| c.phase = Phase::Ended).await;
    assert_eq!(stage.reserve(2, "bob", 1).await, ReserveOutcome::Closed(ClosedReason::Ended));
    set(6, |c| c.ends_at = c.opens_at).await;
    assert_eq!(stage.reserve(2, "bob", 1).await, ReserveOutcome::Closed(ClosedReason::Ended), "by the clock");
}

pub(super) async fn a_buyer_never_exceeds_the_limit(harness: &dyn Harness) {
    let stage = Stage::open(harness, "limit", 10, 3).await;
    assert_eq!(stage.reserve(1, "ann", 2).await, ReserveOutcome::Reserved);
    assert_eq!(stage.reserve(2, "ann", 2).await, ReserveOutcome::LimitReached);
    assert_eq!(stage.reserve(3, "ann", 1).await, ReserveOutcome::Reserved);
    assert_eq!(stage.reserve(4, "ann", 1).await, ReserveOutcome::LimitReached);
    assert_eq!(
        stage.reserve(5, "bob", 3).await,
        ReserveOutcome::Reserved,
        "another buyer has a limit of their own"
    );
    stage.store.release(&stage.sale, super::first(1)).await.expect("release");
    assert_eq!(
        stage.reserve(6, "ann", 2).await,
        ReserveOutcome::Reserved,
        "released units may be bought again"
    );
}

pub(super) async fn sold_out_is_only_said_of_nothing_free(harness: &dyn Harness) {
    let stage = Stage::open(harness, "soldout", 3, 3).await;
    assert_eq!(stage.reserve(1, "ann", 2).await, ReserveOutcome::Reserved);
    assert_eq!(stage.reserve(2, "bob", 2).await, ReserveOutcome::NotEnough { free: 1 });
    assert_eq!(stage.reserve(3, "cat", 1).await, ReserveOutcome::Reserved, "the last unit still sells");
    assert!(matches!(stage.reserve(4, "dan", 1).await, ReserveOutcome::SoldOut(_)));
}

pub(super) async fn tickets_expire_and_belong_to_their_epoch(harness: &dyn Harness) {
    let stage = Stage::open(harness, "tickets", 3, 3).await;
    let ticket = stage.request(1, "ann", 1).await;
    for epoch in [0, 2] {
        let foreign = ReserveRequest { epoch: Epoch(epoch), ..ticket.clone() };
        assert_eq!(stage.store.reserve(&foreign).await, Ok(ReserveOutcome::StaleTicket));
    }
    assert_eq!(stage.store.reserve(&ticket).await, Ok(ReserveOutcome::Reserved));
    let unused = stage.request(2, "ann", 1).await;
    harness.pass(TICKET_MS).await;
    assert_eq!(stage.store.reserve(&unused).await, Ok(ReserveOutcome::Expired));
    assert_eq!(stage.store.reserve(&ticket).await, Ok(ReserveOutcome::Overdue), "known ids come first");
    let other = ReserveRequest { quantity: 2, ..ticket.clone() };
    assert_eq!(stage.store.reserve(&other).await, Ok(ReserveOutcome::QuantityMismatch));
    assert_eq!(stage.counts().await, (2, 1, 0), "its unit waits for the fence");
    stage.store.settle(&stage.sale, &[ticket.id]).await.expect("settle");
    assert_eq!(stage.store.reserve(&ticket).await, Ok(ReserveOutcome::Settled), "an order has no such end");
}

pub(super) async fn a_late_reservation_is_never_overdue(harness: &dyn Harness) {
    let stage = Stage::open(harness, "late-time", 2, 1).await;
    let late = ReserveRequest { id: ReservationId::late(order(1)), ..stage.request(1, "ann", 1).await };
    assert_eq!(stage.store.reserve(&late).await, Ok(ReserveOutcome::Reserved));
    harness.pass(TICKET_MS).await;
    assert_eq!(stage.store.reserve(&late).await, Ok(ReserveOutcome::AlreadyReserved));
}

pub(super) async fn a_tombstone_outlives_release_until_the_ticket_expires(harness: &dyn Harness) {
    let stage = Stage::open(harness, "tombstone", 1, 1).await;
    let ticket = stage.request(1, "ann", 1).await;
    assert_eq!(stage.store.reserve(&ticket).await, Ok(ReserveOutcome::Reserved));
    stage.store.release(&stage.sale, ticket.id).await.expect("release");
    // A duplicate of the request that was under way all the while must not take the unit again.
    assert_eq!(stage.store.reserve(&ticket).await, Ok(ReserveOutcome::Released));
    assert_eq!(stage.store.peek(&stage.sale, ticket.id).await, Ok(Peek::Released));
    harness.pass(TICKET_MS).await;
    assert_eq!(stage.store.reserve(&ticket).await, Ok(ReserveOutcome::Expired), "nor after it is forgotten");
    assert_eq!(stage.store.peek(&stage.sale, ticket.id).await, Ok(Peek::None));
    assert_eq!(stage.counts().await, (1, 0, 0));
}

pub(super) async fn a_late_reservation_ignores_the_window_but_not_the_stock(harness: &dyn Harness) {
    let stage = Stage::open(harness, "late", 2, 1).await;
    let ended = StockConfig { version: 2, phase: Phase::Ended, ..stage.config };
    stage.store.configure(&stage.sale, &ended).await.expect("configure");
    let late = async |n, buyer| {
        let id = ReservationId::late(order(n));
        let request = ReserveRequest { id, ..stage.request(n, buyer, 1).await };
        stage.store.reserve(&request).await.expect("the sale is there")
    };
    assert_eq!(late(1, "ann").await, ReserveOutcome::Reserved);
    assert_eq!(late(1, "ann").await, ReserveOutcome::AlreadyReserved);
    assert_eq!(late(2, "ann").await, ReserveOutcome::LimitReached);
    assert_eq!(late(3, "bob").await, ReserveOutcome::Reserved);
    assert!(matches!(late(4, "cat").await, ReserveOutcome::SoldOut(_)));
}

pub(super) async fn a_crowd_takes_exactly_the_stock(harness: &dyn Harness) {
    const STOCK: u32 = 50;
    const CROWD: u64 = 200;
    let stage = Stage::open(harness, "crowd", STOCK, 1).await;
    let mut tasks = Vec::new();
    for n in 0..CROWD {
        // Every buyer clicks twice, with the same ticket, at the same time.
        let request = stage.request(n, &format!("buyer-{n}"), 1).await;
        for _ in 0..2 {
            let (store, request) = (stage.store.clone(), request.clone());
            tasks.push(tokio::spawn(async move { store.reserve(&request).await.expect("there") }));
        }
    }
    let (mut reserved, mut refused) = (0, 0);
    for task in tasks {
        match task.await.expect("no panic") {
            ReserveOutcome::Reserved => reserved += 1,
            ReserveOutcome::SoldOut(_) => refused += 1,
            ReserveOutcome::AlreadyReserved => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(reserved, STOCK);
    assert_eq!(refused, 2 * (u32::try_from(CROWD).expect("small") - STOCK));
    assert_eq!(stage.counts().await, (0, STOCK, 0));
}
