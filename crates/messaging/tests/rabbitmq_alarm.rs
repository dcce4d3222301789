//! A broker without memory: alone in its program, for the alarm is for the whole node.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "support/rabbit.rs"]
mod rabbit;

use std::process::Command;
use std::time::Duration;

use messaging::contract_suite::samples::{lane, numbers, order};
use messaging::contract_suite::{take, until};
use messaging::rabbitmq::RabbitOptions;
use messaging::{OrderQueue, PublishError};
use rabbit::{Vhost, variable};
use tokio::time::{Instant, sleep};

/// A share of the memory that every broker has exceeded.
const NO_MEMORY: &str = "0.00001";
/// The broker's own default.
const ENOUGH_MEMORY: &str = "0.4";
/// How fast is fast: no waiting for the broker is in it.
const FAST: Duration = Duration::from_millis(50);

/// Gives the node its memory back, whatever happens.
struct Alarm;

impl Alarm {
    fn raise() -> Self {
        set_memory(NO_MEMORY);
        Self
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        set_memory(ENOUGH_MEMORY);
    }
}

fn set_memory(share: &str) {
    let set =
        Command::new(variable("TEST_RABBITMQCTL")).args(["set_vm_memory_high_watermark", share]).output();
    let output = set.expect("rabbitmqctl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn a_broker_without_memory_is_a_fast_refusal_and_heals_by_itself() {
    let vhost = Vhost::new();
    let broker = vhost.open(RabbitOptions { lanes: 2, ..RabbitOptions::default() }).await;
    OrderQueue::publish(&*broker, &order(1)).await.unwrap();
    let alarm = Alarm::raise();
    // The broker complains to those who publish; what it is sent until then is unknown.
    let mut sent = 1;
    until("the broker refuses", || {
        sent += 1;
        let (broker, n) = (broker.clone(), sent);
        async move { (OrderQueue::publish(&*broker, &order(n)).await == Err(PublishError::Full)).then_some(()) }
    })
    .await;
    let why = broker.readiness().unwrap_err();
    assert!(why.contains("takes no messages"), "{why}");
    let asked = Instant::now();
    for n in 1_001..=1_100 {
        assert_eq!(OrderQueue::publish(&*broker, &order(n)).await, Err(PublishError::Full));
    }
    assert!(asked.elapsed() < FAST * 10, "100 refusals took {:?}", asked.elapsed());
    let mut consumer = OrderQueue::consume(&*broker, lane(2)).await.unwrap();
    assert_eq!(numbers(&take(&mut *consumer, 1).await), [1], "consuming goes on");
    // Longer than every question and heartbeat: a blocked connection is not taken for a dead one.
    sleep(Duration::from_secs(12)).await;
    assert_eq!(OrderQueue::publish(&*broker, &order(1_101)).await, Err(PublishError::Full));
    drop(alarm);
    until("the broker takes messages again", || async {
        OrderQueue::publish(&*broker, &order(2_000)).await.ok()
    })
    .await;
    assert_eq!(broker.readiness(), Ok(()));
    let mut found = Vec::new();
    while found.last() != Some(&2_000) {
        found.extend(numbers(&take(&mut *consumer, 1).await));
    }
    assert!(
        found.iter().all(|n| *n < 1_000 || *n == 2_000),
        "a refused message was kept for later: {found:?}"
    );
}
