//! What every adapter must do, as tests: one async function a property, run by [`messaging_contract!`]
//! over a [`Harness`] that makes brokers.
//!
//! Limits are soft where RabbitMQ's are: a full queue may admit what was under way at that moment.
//!
//! [`messaging_contract!`]: crate::messaging_contract
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // A property that does not hold panics.

mod bus;
mod dead;
mod lanes;
pub mod samples;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};

pub use bus::*;
pub use dead::*;
pub use lanes::*;

use crate::topology::Limits;
use crate::{Consumer, DeadLetters, Delivery, EventBus, OrderQueue};

/// How long a state may take to come about.
pub const WAIT: Duration = Duration::from_secs(20);
/// How long something that must not happen is given to happen.
pub const NOT_WITHIN: Duration = Duration::from_millis(150);
/// Between two looks at a state.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One broker, behind its three ports.
#[derive(Clone)]
pub struct Ports {
    /// The lanes.
    pub queue: Arc<dyn OrderQueue>,
    /// The events.
    pub bus: Arc<dyn EventBus>,
    /// The dead letters.
    pub dead: Arc<dyn DeadLetters>,
}

/// Makes brokers of one kind, and does to them what tests do.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A new, empty broker with these limits.
    async fn fresh(&self, limits: Limits) -> Ports;

    /// Lets this many milliseconds pass on the broker's clock.
    async fn pass(&self, millis: i64);

    /// Stops the broker made last and starts it again on the same storage. The old ports and their
    /// consumers are gone.
    async fn restart(&self, limits: Limits) -> Ports;

    /// Takes away every binding of the broker made last.
    async fn unbind_all(&self);

    /// Whether consumers are sent messages ahead of their asking. Those count as delivered when the
    /// consumer goes, and are not overtaken by what it gives back.
    fn sends_ahead(&self) -> bool {
        false
    }
}

/// Waits until `look` finds something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(LOOK_AGAIN).await;
    }
}

/// Takes exactly `count` deliveries, in as many batches as it takes.
pub async fn take(consumer: &mut dyn Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let batch = timeout(WAIT, consumer.next_batch(count - taken.len())).await;
        let batch = batch.expect("a message should be there").unwrap();
        assert!(!batch.is_empty(), "an empty batch never comes");
        taken.extend(batch);
    }
    assert_eq!(taken.len(), count, "no more than asked for");
    taken
}

/// The consumer finds nothing.
pub async fn assert_idle(consumer: &mut dyn Consumer) {
    let got = timeout(NOT_WITHIN, consumer.next_batch(10)).await;
    assert!(got.is_err(), "nothing should be there, but {got:?}");
}

/// Waits for this many dead letters of a cause.
pub async fn assert_dead(dead: &dyn DeadLetters, reason: &str, count: usize) {
    until(&format!("{count} dead letters: {reason}"), || async {
        let letters = dead.list(1_000).await.unwrap();
        (letters.iter().filter(|l| l.reason == reason).count() == count).then_some(())
    })
    .await;
}

/// Makes a test of every property for a harness expression, which is evaluated once a test. With
/// `ignore = "why", ` before it the tests are ignored unless asked for.
#[macro_export]
macro_rules! messaging_contract {
    (ignore = $why:literal, $harness:expr) => {
        $crate::messaging_contract! { @all [#[ignore = $why]] $harness }
    };
    ($harness:expr) => {
        $crate::messaging_contract! { @all [] $harness }
    };
    (@all $attributes:tt $harness:expr) => {
        $crate::messaging_contract! { @each $attributes $harness;
            a_lane_keeps_the_order_of_its_publishes,
            a_lane_has_one_active_consumer,
            the_next_consumer_gets_the_unacknowledged_in_order,
            a_dropped_consumer_gives_its_messages_back,
            an_acknowledgement_is_for_all_before_it,
            an_acknowledgement_can_be_for_one_alone,
            a_requeued_message_keeps_its_place,
            a_full_lane_refuses_until_it_drains,
            a_message_is_delivered_one_time_more_than_the_limit,
            an_old_message_is_not_delivered,
            a_cancelled_wait_loses_nothing,
            a_waiting_consumer_wakes,
            what_no_queue_takes_is_unroutable,
            there_is_no_lane_beyond_the_last,
            the_depths_of_lanes_are_told,
            lanes_survive_a_restart,
            single_acknowledgements_survive_a_restart,
            redeliveries_survive_a_restart,
            an_event_reaches_every_subscription_that_matches,
            replicas_share_a_subscription,
            a_full_subscription_refuses,
            a_notify_that_is_far_behind_holds_up_nobody,
            notices_are_routed_by_channel,
            the_oldest_notices_give_way,
            every_listener_hears_a_broadcast,
            a_tap_hears_events_from_now_on,
            a_rejected_message_becomes_a_dead_letter,
            a_dead_letter_is_replayed_once,
            a_dead_letter_stays_when_its_queue_is_full,
            dead_letters_are_bounded,
            dead_letters_survive_a_restart,
        }
    };
    (@each $attributes:tt $harness:expr; $($property:ident,)*) => {
        $($crate::messaging_contract! { @one $attributes $harness; $property })*
    };
    (@one [$(#[$attribute:meta])*] $harness:expr; $property:ident) => {
        $(#[$attribute])*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $property() {
            $crate::contract_suite::$property(&$harness).await;
        }
    };
}
