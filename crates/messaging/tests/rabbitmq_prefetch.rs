//! What a real RabbitMQ sends ahead of acknowledgements: no more than the prefetch, whatever waits behind it.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "support/rabbit.rs"]
mod rabbit;

use messaging::OrderQueue;
use messaging::contract_suite::samples::{lane, number, numbers, order};
use messaging::contract_suite::{assert_idle, take};
use messaging::rabbitmq::RabbitOptions;
use rabbit::Vhost;

const PREFETCH: u16 = 10;
const MESSAGES: u32 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn one_delivery_that_is_held_does_not_keep_those_behind_it() {
    let vhost = Vhost::new();
    let options = RabbitOptions { lanes: 1, prefetch: PREFETCH, ..RabbitOptions::default() };
    let broker = vhost.open(options).await;
    for n in 1..=MESSAGES {
        OrderQueue::publish(&*broker, &order(n)).await.unwrap();
    }
    let mut consumer = OrderQueue::consume(&*broker, lane(1)).await.unwrap();
    let mut taken = take(&mut *consumer, PREFETCH.into()).await;
    // The control: as long as nothing is acknowledged, nothing more comes.
    assert_idle(&mut *consumer).await;
    assert_eq!(number(&taken.remove(0)), 1);
    let mut done = numbers(&taken);
    while done.len() + 1 < MESSAGES as usize {
        let tags: Vec<u64> = taken.iter().map(|delivery| delivery.tag).collect();
        consumer.ack_each(&tags).await.unwrap();
        taken = take(&mut *consumer, 1).await;
        done.extend(numbers(&taken));
    }
    assert_eq!(done, (2..=MESSAGES).collect::<Vec<_>>(), "all behind the first, which is held all the time");
    consumer.ack_through(taken[0].tag).await.unwrap();
    consumer.close().await.unwrap();
    let mut next = OrderQueue::consume(&*broker, lane(1)).await.unwrap();
    assert_idle(&mut *next).await;
    broker.close().await;
}
