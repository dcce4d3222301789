//! What listeners leave on a real RabbitMQ: a queue that outlives its node and not its listener.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "support/rabbit.rs"]
mod rabbit;

use messaging::EventBus;
use messaging::contract_suite::until;
use messaging::rabbitmq::RabbitOptions;
use rabbit::Vhost;
use serde_json::Value;

/// The queues of listeners, as the management API tells them. A queue that was just made may have no kind there yet.
fn listeners(vhost: &Vhost) -> Vec<Value> {
    let all = vhost.api.get(&format!("/queues/{}", vhost.name));
    let is_listeners = |queue: &&Value| queue["name"].as_str().unwrap().starts_with("seckill.listener.");
    all.as_array().unwrap().iter().filter(is_listeners).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn a_listeners_queue_is_replicated_and_goes_with_it() {
    let vhost = Vhost::new();
    let broker = vhost.open(RabbitOptions { lanes: 1, ..RabbitOptions::default() }).await;
    let one = broker.broadcasts().await.unwrap();
    let two = broker.broadcasts().await.unwrap();
    until("two queues", || std::future::ready((listeners(&vhost).len() == 2).then_some(()))).await;
    for queue in listeners(&vhost) {
        let arguments = &queue["arguments"];
        assert_eq!(arguments["x-queue-type"], "quorum", "it must not die with one node: {queue}");
        assert_eq!(arguments["x-expires"], 60_000, "nor stay after a listener that was killed: {queue}");
    }
    drop(one);
    until("one queue", || std::future::ready((listeners(&vhost).len() == 1).then_some(()))).await;
    drop(two);
    until("no queue", || std::future::ready(listeners(&vhost).is_empty().then_some(()))).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn a_tap_reads_the_log_and_makes_no_queue() {
    let vhost = Vhost::new();
    let broker = vhost.open(RabbitOptions { lanes: 1, ..RabbitOptions::default() }).await;
    let count = || vhost.api.get(&format!("/queues/{}", vhost.name)).as_array().unwrap().len();
    let before = count();
    let tap = broker.tap().await.unwrap();
    until("the log has a consumer", || {
        let log = vhost.api.get(&format!("/queues/{}/seckill.log", vhost.name));
        std::future::ready((log["consumers"] == 1).then_some(()))
    })
    .await;
    assert_eq!(count(), before);
    drop(tap);
    broker.close().await;
}
