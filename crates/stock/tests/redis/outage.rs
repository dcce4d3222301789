//! What an outage costs a caller. The bound is part of the contract: less than 300 ms, whatever the
//! server does, and nothing to speak of while it is known to be away.

use std::sync::Arc;
use std::time::Duration;

use domain::Epoch;
use stock::{Rebuild, RedisOptions, RedisStock, ReserveOutcome, StockError, StockStore};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::{Server, connected, open_sale, request, sale, until};

const BOUND: Duration = Duration::from_millis(300);
const CALLERS: usize = 200;

/// An adapter with the bounds it is shipped with.
async fn as_shipped(server: &Server) -> Arc<RedisStock> {
    let options = RedisOptions { installer: true, ..RedisOptions::default() };
    connected(RedisStock::connect(&server.url(), options).expect("the URL is fine")).await
}

/// Many callers at once, each within the bound; none gets an answer.
async fn assert_each_call_is_bounded(store: &Arc<RedisStock>) {
    let calls = (0..CALLERS).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let began = Instant::now();
            let answer = store.view(&sale("shoes")).await;
            (answer, began.elapsed())
        })
    });
    for call in futures_util::future::join_all(calls).await {
        let (answer, took) = call.expect("no panic");
        assert!(matches!(answer, Err(StockError::Unreachable(_))), "{answer:?}");
        assert!(took < BOUND, "a call took {took:?}");
    }
}

/// Once the store is known to be away, a call does not wait for it at all.
async fn assert_soon_refused_at_once(store: &RedisStock) {
    until("calls are refused at once", async || {
        let began = Instant::now();
        store.view(&sale("shoes")).await.is_err() && began.elapsed() < BOUND / 10
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_listener_that_never_answers_costs_less_than_300_ms() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("bound"));
    // Connections are taken, kept, and never read.
    let accepting = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok(connection) = listener.accept().await {
            kept.push(connection);
        }
    });
    let options = RedisOptions { installer: true, ..RedisOptions::default() };
    let store = Arc::new(RedisStock::connect(&url, options).expect("the URL is fine"));
    for _ in 0..5 {
        assert_each_call_is_bounded(&store).await;
    }
    assert_soon_refused_at_once(&store).await;
    accepting.abort();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_frozen_server_costs_less_than_300_ms_and_sells_on_when_it_thaws() {
    let server = Server::start(&[]).await;
    let inventory = server.keeper().await;
    let store = as_shipped(&server).await;
    open_sale(&*inventory, &sale("shoes"), 1, 5).await;
    let ticket = request(&*inventory, &sale("shoes"), 1).await;
    server.signal("-STOP");
    for _ in 0..5 {
        assert_each_call_is_bounded(&store).await;
    }
    assert_soon_refused_at_once(&store).await;
    server.signal("-CONT");
    until("it answers again", async || store.view(&sale("shoes")).await.is_ok()).await;
    assert_eq!(inventory.reserve(&ticket).await, Ok(ReserveOutcome::Reserved), "it was never lost");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_rebuild_outwaits_a_server_too_slow_for_buyers() {
    let server = Server::start(&[]).await;
    let store = as_shipped(&server).await;
    let rebuild = Rebuild { sale: sale("shoes"), epoch: Epoch(1), token: 7 };
    assert_eq!(store.rebuild_begin(&rebuild).await, Ok(true));
    server.signal("-STOP");
    let buyers_give_up = async {
        assert_each_call_is_bounded(&store).await;
        server.signal("-CONT");
    };
    let (loaded, ()) = tokio::join!(store.rebuild_load(&rebuild, &[]), buyers_give_up);
    assert_eq!(loaded, Ok(true), "what it gives up begins again with a barrier");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_killed_server_is_found_again_by_itself() {
    let mut server = Server::start(&[]).await;
    let store = as_shipped(&server).await;
    for _ in 0..3 {
        server.kill();
        assert_each_call_is_bounded(&store).await;
        assert_soon_refused_at_once(&store).await;
        server.run().await;
        let unknown = Err(StockError::UnknownSale(sale("shoes")));
        until("it is found again", async || store.view(&sale("shoes")).await.map(|_| ()) == unknown).await;
        open_sale(&*server.keeper().await, &sale("shoes"), 1, 5).await;
        until("it sells", async || store.view(&sale("shoes")).await.is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_demoted_primary_reserves_nothing() {
    let (server, other) = (Server::start(&[]).await, Server::start(&[]).await);
    let store = server.keeper().await;
    open_sale(&*store, &sale("shoes"), 1, 5).await;
    let ticket = request(&*store, &sale("shoes"), 1).await;
    server.tell(&["REPLICAOF", "127.0.0.1", &other.port.to_string()]).await;
    let answer = store.reserve(&ticket).await;
    assert!(answer.is_err(), "{answer:?}");
}
