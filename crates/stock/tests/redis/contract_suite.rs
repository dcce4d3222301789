//! The contract suite, with either way to lose the state, with callers on two connections, and on a cluster.

use stock::contract_suite::run_all;

use crate::support::{Losing, SHIPPED, TestClock, with_a_test_clock};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn the_redis_store_keeps_the_contract_when_its_keys_are_lost() {
    run_all(&TestClock::start(with_a_test_clock(SHIPPED), 1, Losing::Keys).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn the_redis_store_keeps_the_contract_when_its_memory_is_lost() {
    run_all(&TestClock::start(with_a_test_clock(SHIPPED), 1, Losing::Memory).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn two_connections_are_one_store() {
    run_all(&TestClock::start(with_a_test_clock(SHIPPED), 2, Losing::Memory).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_cluster_is_one_store() {
    run_all(&TestClock::start_cluster(with_a_test_clock(SHIPPED), Losing::Memory).await).await;
}
