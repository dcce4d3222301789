//! Fences: how often one is sent for a reservation that waits.

use std::sync::Arc;
use std::time::Duration;

use contract::lane::{LaneMessage, OrderMessage};
use domain::Epoch;
use messaging::{Consumer, OrderQueue};
use stock::ReserveOutcome;
use tokio::time::{Instant, timeout};

use super::{NOW, Stage, id};
use crate::reconcile::{FENCE_AGAIN_LANE_MAX, Fences};

/// How long a consumer may wait for what is there.
const PATIENCE: Duration = Duration::from_secs(20);

/// A sale in which ann's unit has waited for its order for long enough.
async fn with_a_unit_that_waits() -> Stage {
    let mut stage = Stage::open().await;
    Arc::get_mut(&mut stage.inventory).expect("nobody else has it yet").fence_age = Duration::ZERO;
    assert_eq!(stage.reserve(1, "ann").await, ReserveOutcome::Reserved);
    stage
}

/// One round of the reconciler, so many seconds after the first: what is ready in the lane then.
async fn round(stage: &Stage, fences: &mut Fences, began: Instant, seconds: u64) -> u64 {
    let now = began + Duration::from_secs(seconds);
    stage.inventory.fence(&stage.sale, fences, now).await;
    fences.end_round(now);
    stage.in_lane().await
}

/// Orders that nobody commits, so many that the lane has not drained.
async fn fill_lane(stage: &Stage) {
    for n in 0..FENCE_AGAIN_LANE_MAX {
        let order = OrderMessage {
            order: id(2),
            sale: stage.sale.clone(),
            buyer: format!("b{n}").parse().unwrap(),
            quantity: 1,
            epoch: Epoch(1),
            reserved_at: NOW,
        };
        OrderQueue::publish(&*stage.broker, &LaneMessage::Order(order)).await.unwrap();
    }
}

/// Takes so many messages out of the lane, acknowledging none.
async fn take(consumer: &mut dyn Consumer, count: u64) -> u64 {
    let mut last = (0, 0);
    while last.0 < count {
        let batch = timeout(PATIENCE, consumer.next_batch(1_000)).await;
        let batch = batch.expect("they are in the lane").unwrap();
        last = (last.0 + batch.len() as u64, batch[batch.len() - 1].tag);
    }
    last.1
}

#[tokio::test]
async fn a_fence_that_had_no_effect_is_sent_again_down_a_drained_lane_only() {
    let stage = with_a_unit_that_waits().await;
    let (mut fences, began) = (Fences::default(), Instant::now());
    assert_eq!(round(&stage, &mut fences, began, 0).await, 1);
    assert_eq!(round(&stage, &mut fences, began, 5).await, 1, "it may be on its way");
    // The control: with hardly anything in the lane it is sent again.
    assert_eq!(round(&stage, &mut fences, began, 11).await, 2);
    fill_lane(&stage).await;
    let waiting = 2 + FENCE_AGAIN_LANE_MAX;
    for minutes in [1, 2, 10, 60] {
        let ready = round(&stage, &mut fences, began, minutes * 60).await;
        assert_eq!(ready, waiting, "after {minutes} minutes: the backlog holds those sent before");
    }
    let mut consumer = OrderQueue::consume(&*stage.broker, 0).await.unwrap();
    let last = take(&mut *consumer, waiting).await;
    assert_eq!(
        round(&stage, &mut fences, began, 4_000).await,
        0,
        "a consumer has them all, and has not met them"
    );
    consumer.ack_through(last).await.unwrap();
    assert_eq!(round(&stage, &mut fences, began, 4_001).await, 1, "none of them had an effect");
}

#[tokio::test]
async fn a_reservation_that_has_begun_to_wait_is_fenced_at_once_behind_any_backlog() {
    let stage = with_a_unit_that_waits().await;
    fill_lane(&stage).await;
    let (mut fences, began) = (Fences::default(), Instant::now());
    assert_eq!(round(&stage, &mut fences, began, 0).await, FENCE_AGAIN_LANE_MAX + 1);
    assert_eq!(stage.reserve(3, "bob").await, ReserveOutcome::Reserved);
    assert_eq!(round(&stage, &mut fences, began, 60).await, FENCE_AGAIN_LANE_MAX + 2, "bob's, and not ann's");
}
