//! Whatever makes the keys doubtful makes the sale unknown, until it has been rebuilt. Each test checks
//! first that the keys are there: an empty server would prove nothing.

use contract::internal::LiveOrder;
use domain::Epoch;
use stock::{Rebuild, RedisOptions, RedisStock, ReserveOutcome, ReserveRequest, StockError, StockStore};

use crate::support::{SHIPPED, Server, always_open, connected, open_sale, request, sale, until};

const SALE: &str = "shoes";

/// A sale with one reservation, and the request that made it.
async fn sell_one(store: &dyn StockStore) -> ReserveRequest {
    open_sale(store, &sale(SALE), 1, 5).await;
    let request = request(store, &sale(SALE), 1).await;
    assert_eq!(store.reserve(&request).await, Ok(ReserveOutcome::Reserved));
    request
}

/// Every question but the rebuild's is answered *unknown*; after a rebuild the sale sells again.
async fn assert_lost_then_rebuilt(store: &dyn StockStore, made: &ReserveRequest) {
    let unknown = StockError::UnknownSale(sale(SALE));
    assert_eq!(store.reserve(made).await, Err(unknown.clone()));
    assert_eq!(store.peek(&made.sale, made.id).await, Err(unknown.clone()));
    assert_eq!(store.view(&made.sale).await, Err(unknown.clone()));
    assert_eq!(store.settle(&made.sale, &[made.id]).await, Err(unknown.clone()));
    assert_eq!(store.release(&made.sale, made.id).await, Err(unknown.clone()));
    assert_eq!(store.snapshot(&made.sale).await, Err(unknown.clone()));
    assert_eq!(store.stale(&made.sale, 0, 9).await, Err(unknown));
    open_sale(store, &made.sale, 2, 5).await;
    assert_eq!(store.reserve(made).await, Ok(ReserveOutcome::StaleTicket));
    let fresh = request(store, &made.sale, 2).await;
    assert_eq!(store.reserve(&fresh).await, Ok(ReserveOutcome::Reserved));
}

/// Whether the sale's keys are there, whatever the library says of them.
async fn has_keys(server: &Server) -> bool {
    let mut count = redis::cmd("EXISTS");
    for key in ["state", "book", "ages"] {
        count.arg(format!("seckill:{{{SALE}}}:{key}"));
    }
    count.query_async::<u64>(&mut server.connect().await).await.expect("the server is there") == 3
}

async fn digest(server: &Server) -> String {
    redis::cmd("DEBUG").arg("DIGEST").query_async(&mut server.connect().await).await.expect("a digest")
}

async fn answers(store: &dyn StockStore) {
    until("the store is back", async || store.ping().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_restart_with_its_log_is_a_loss() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let store = server.keeper().await;
    let made = sell_one(&*store).await;
    let before = digest(&server).await;
    server.kill();
    server.run().await;
    assert_eq!(digest(&server).await, before, "the log has kept every effect");
    answers(&*store).await;
    assert_lost_then_rebuilt(&*store, &made).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn an_old_snapshot_is_a_loss() {
    let mut server = Server::start(&[]).await;
    let store = server.keeper().await;
    let made = sell_one(&*store).await;
    server.tell(&["SAVE"]).await;
    let later = request(&*store, &made.sale, 2).await;
    assert_eq!(store.reserve(&later).await, Ok(ReserveOutcome::Reserved));
    server.kill();
    server.run().await;
    assert!(has_keys(&server).await, "the old state is there");
    answers(&*store).await;
    assert_lost_then_rebuilt(&*store, &made).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_promoted_replica_is_a_loss() {
    let primary = Server::start(&[]).await;
    let store = primary.keeper().await;
    let port = primary.port.to_string();
    let replica = Server::start(&["--replicaof", &format!("127.0.0.1 {port}")]).await;
    let made = sell_one(&*store).await;
    until("the replica has it all", async || digest(&replica).await == digest(&primary).await).await;
    assert!(has_keys(&replica).await, "the replica has the keys");
    let on_replica = RedisStock::connect(&replica.url(), RedisOptions::default()).expect("the URL is fine");
    let on_replica = connected(on_replica).await;
    // Still a replica: it has the library, and knows nothing.
    assert_eq!(on_replica.view(&made.sale).await, Err(StockError::UnknownSale(sale(SALE))));
    replica.tell(&["REPLICAOF", "NO", "ONE"]).await;
    assert_lost_then_rebuilt(&*on_replica, &made).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn flushing_everything_is_a_loss() {
    let server = Server::start(&[]).await;
    let store = server.keeper().await;
    let made = sell_one(&*store).await;
    server.tell(&["FLUSHALL"]).await;
    assert_lost_then_rebuilt(&*store, &made).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn keys_that_come_back_are_still_lost() {
    let server = Server::start(&[]).await;
    let store = server.keeper().await;
    let made = sell_one(&*store).await;
    let mut bare = server.connect().await;
    let (away, key) = ("seckill:{shoes}:away", "seckill:{shoes}:state");
    for (from, to) in [(key, away), (away, key)] {
        let mut rename = redis::cmd("RENAME");
        rename.arg(from).arg(to).exec_async(&mut bare).await.expect("renamed");
        assert_eq!(store.view(&made.sale).await, Err(StockError::UnknownSale(sale(SALE))));
    }
    assert_lost_then_rebuilt(&*store, &made).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn half_a_state_is_lost_as_soon_as_it_is_noticed() {
    let server = Server::start(&[]).await;
    let store = server.keeper().await;
    let made = sell_one(&*store).await;
    server.tell(&["DEL", "seckill:{shoes}:book"]).await;
    assert_eq!(store.stale(&made.sale, 0, 9).await, Err(StockError::UnknownSale(sale(SALE))));
    assert_lost_then_rebuilt(&*store, &made).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn keys_of_another_epoch_are_lost() {
    let server = Server::start(&[]).await;
    let store = server.keeper().await;
    let made = sell_one(&*store).await;
    // As on a primary of old that follows a new one: its memory is armed for the epoch before.
    open_sale(&*store, &sale("boots"), 2, 5).await;
    server.tell(&["COPY", "seckill:{boots}:state", "seckill:{shoes}:state", "REPLACE"]).await;
    assert_eq!(store.view(&made.sale).await, Err(StockError::UnknownSale(sale(SALE))));
    server.tell(&["DEL", "seckill:{shoes}:state"]).await;
    assert_lost_then_rebuilt(&*store, &made).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_missing_library_is_a_loss_and_inventory_brings_it_back() {
    let server = Server::start(&[]).await;
    let inventory = server.keeper().await;
    let gateway = RedisStock::connect(&server.url(), RedisOptions::default()).expect("the URL is fine");
    let gateway = connected(gateway).await;
    let made = sell_one(&*inventory).await;
    server.tell(&["FUNCTION", "FLUSH"]).await;
    assert!(has_keys(&server).await, "the keys are there");
    let unknown = Err(StockError::UnknownSale(sale(SALE)));
    assert_eq!(gateway.reserve(&made).await, unknown, "a gateway says so");
    assert_eq!(gateway.reserve(&made).await, unknown, "and does not install anything");
    assert_lost_then_rebuilt(&*inventory, &made).await;
    assert_eq!(
        gateway.reserve(&made).await,
        Ok(ReserveOutcome::StaleTicket),
        "the gateway goes on by itself"
    );
}

async fn version(server: &Server) -> u32 {
    let mut call = redis::cmd("FCALL");
    call.arg("seckill_version").arg(0);
    call.query_async(&mut server.connect().await).await.expect("the library is there")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn an_older_library_is_upgraded_and_a_newer_one_kept() {
    let server = Server::start(&[]).await;
    let ours = SHIPPED.lines().find(|l| l.starts_with("local VERSION = ")).expect("it has a version");
    server.tell(&["FUNCTION", "LOAD", &SHIPPED.replace(ours, "local VERSION = 0")]).await;
    let older = version(&server).await;
    server.keeper().await;
    let upgraded = version(&server).await;
    assert!(older == 0 && upgraded > 0);
    server.tell(&["FUNCTION", "LOAD", "REPLACE", &SHIPPED.replace(ours, "local VERSION = 999")]).await;
    let store = server.keeper().await;
    assert_eq!(version(&server).await, 999);
    sell_one(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn many_inventories_install_once_and_disarm_nobody() {
    let server = Server::start(&[]).await;
    let starting: Vec<_> = (0..8).map(|_| server.keeper()).collect();
    let stores = futures_util::future::join_all(starting).await;
    let made = sell_one(&*stores[0]).await;
    for store in &stores {
        assert_eq!(store.reserve(&made).await, Ok(ReserveOutcome::AlreadyReserved));
    }
    server.keeper().await;
    assert_eq!(stores[0].reserve(&made).await, Ok(ReserveOutcome::AlreadyReserved), "nor does a later one");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_rebuild_goes_on_when_memory_is_short_and_makes_room_first() {
    let server = Server::start(&[]).await;
    let store = server.keeper().await;
    let made = sell_one(&*store).await;
    let later = request(&*store, &made.sale, 2).await;
    server.tell(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert!(store.reserve(&later).await.is_err(), "the control: there is no room");
    let rebuild = Rebuild { sale: made.sale.clone(), epoch: Epoch(2), token: 1 };
    assert!(has_keys(&server).await);
    assert_eq!(store.rebuild_begin(&rebuild).await, Ok(true));
    assert!(!has_keys(&server).await, "what the old state has booked serves nobody any more");
    let live = LiveOrder { reservation: made.id, buyer: made.buyer, quantity: 1 };
    assert_eq!(store.rebuild_load(&rebuild, &[live]).await, Ok(true));
    assert_eq!(store.rebuild_finish(&rebuild, &always_open(), 5, 1).await, Ok(true));
    let counts = store.snapshot(&made.sale).await.unwrap();
    assert_eq!((counts.free, counts.settled), (4, 1));
}
