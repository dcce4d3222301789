//! What the users of `infra/redis/users.acl` may and may not do, and the server that all tests share.

use std::fs;

use domain::Epoch;
use redis::aio::MultiplexedConnection;
use stock::{Peek, Rebuild, RedisOptions, RedisStock, ReserveOutcome, StockError, StockStore};

use crate::support::{Server, connected, first, open_sale, request, sale, setting, until};

const RIGHTS: &str = include_str!("../../../../infra/redis/users.acl");
const CONFIGURATION: &str = include_str!("../../../../infra/redis/redis.conf");

/// A server with the shipped users; each one's password is its name.
async fn server_with_users() -> Server {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut rights = String::new();
    for line in RIGHTS.lines().filter(|line| line.starts_with("user ")) {
        let mut line = line.to_owned();
        for user in ["gateway", "inventory", "replica", "sentinel", "operator"] {
            line = line.replace(&format!("${{SECKILL_REDIS_{}_PASSWORD}}", user.to_uppercase()), user);
        }
        assert!(!line.contains("${"), "every password is filled in: {line}");
        rights.push_str(&line);
        rights.push('\n');
    }
    fs::write(file.path(), rights).expect("written");
    Server::start(&["--aclfile", file.path().to_str().expect("a plain path")]).await
}

fn url(server: &Server, user: &str) -> String {
    format!("redis://{user}:{user}@127.0.0.1:{}", server.port)
}

async fn bare(server: &Server, user: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url(server, user)).expect("the URL is fine");
    client.get_multiplexed_async_connection().await.expect("the user is let in")
}

async fn adapter(server: &Server, user: &str, installer: bool) -> std::sync::Arc<RedisStock> {
    let options = RedisOptions { installer, ..RedisOptions::default() };
    connected(RedisStock::connect(&url(server, user), options).expect("the URL is fine")).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_gateways_credentials_reserve_and_look_and_no_more() {
    let server = server_with_users().await;
    let inventory = adapter(&server, "inventory", true).await;
    let gateway = adapter(&server, "gateway", false).await;
    let shoes = sale("shoes");
    open_sale(&*inventory, &shoes, 1, 5).await;
    let ticket = request(&*gateway, &shoes, 1).await;
    assert_eq!(gateway.reserve(&ticket).await, Ok(ReserveOutcome::Reserved));
    assert!(matches!(gateway.peek(&shoes, ticket.id).await, Ok(Peek::Reserved(_))));

    let refused = |error: StockError| {
        assert!(matches!(&error, StockError::Unreachable(why) if why.contains("no permissions")), "{error}");
    };
    refused(gateway.settle(&shoes, &[ticket.id]).await.expect_err("settle"));
    refused(gateway.release(&shoes, ticket.id).await.expect_err("release"));
    refused(gateway.set_total(&shoes, 9, 9).await.expect_err("set_total"));
    refused(gateway.stale(&shoes, 0, 1).await.expect_err("stale"));
    let rebuild = Rebuild { sale: shoes.clone(), epoch: Epoch(9), token: 1 };
    refused(gateway.rebuild_begin(&rebuild).await.expect_err("rebuild_begin"));

    let mut thief = bare(&server, "gateway").await;
    for words in [
        "FUNCTION FLUSH",
        "FUNCTION LIST",
        "FLUSHALL",
        "DEL seckill:{shoes}:state",
        "UNLINK seckill:{shoes}:state",
        "HDEL seckill:{shoes}:book @buyer-1",
        "SET other:key a",
        "KEYS *",
        "CONFIG GET *",
        "EVAL return(1) 0",
        "RENAME seckill:{shoes}:state seckill:{shoes}:x",
        "ACL WHOAMI",
    ] {
        let mut command = redis::Cmd::new();
        words.split(' ').for_each(|word| _ = command.arg(word));
        let error = command.exec_async(&mut thief).await.expect_err(words).to_string();
        assert!(error.to_lowercase().contains("permission"), "{words}: {error}");
    }
    assert_eq!(inventory.snapshot(&shoes).await.map(|s| (s.free, s.reserved)), Ok((4, 1)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn inventorys_credentials_keep_the_stock_and_the_library() {
    let server = server_with_users().await;
    let store = adapter(&server, "inventory", true).await;
    let shoes = sale("shoes");
    open_sale(&*store, &shoes, 1, 5).await;
    let ticket = request(&*store, &shoes, 1).await;
    assert_eq!(store.reserve(&ticket).await, Ok(ReserveOutcome::Reserved));
    assert_eq!(store.settle(&shoes, &[ticket.id]).await, Ok(()));
    assert_eq!(store.release(&shoes, ticket.id).await.map(|r| r.units), Ok(1));
    assert!(store.stale(&shoes, 0, 9).await.is_ok());
    assert!(store.set_total(&shoes, 9, 2).await.is_ok());
    let live =
        contract::internal::LiveOrder { reservation: first(7), buyer: ticket.buyer.clone(), quantity: 1 };
    let rebuild = Rebuild { sale: shoes.clone(), epoch: Epoch(2), token: 1 };
    assert_eq!(store.rebuild_begin(&rebuild).await, Ok(true));
    assert_eq!(store.rebuild_load(&rebuild, &[live]).await, Ok(true));
    assert_eq!(store.rebuild_finish(&rebuild, &crate::support::always_open(), 9, 1).await, Ok(true));
    assert_eq!(store.snapshot(&shoes).await.map(|s| (s.free, s.settled)), Ok((8, 1)));
    let mut operator = bare(&server, "operator").await;
    redis::cmd("FUNCTION").arg("FLUSH").exec_async(&mut operator).await.expect("flushed");
    until("the library is back", async || {
        store.view(&shoes).await == Err(StockError::UnknownSale(shoes.clone()))
    })
    .await;
    let mut own = bare(&server, "inventory").await;
    assert!(redis::cmd("FLUSHALL").exec_async(&mut own).await.is_err());
}

#[test]
#[ignore = "needs Redis: cargo xtask test runs it"]
fn the_shipped_configuration_keeps_every_key_and_lets_nobody_in() {
    let lines: Vec<_> = CONFIGURATION.lines().collect();
    for wanted in ["appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"] {
        assert!(lines.contains(&wanted), "{wanted}");
    }
    assert!(RIGHTS.lines().any(|line| line.starts_with("user default off ")));
    let folder = tempfile::tempdir().expect("a folder");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/redis");
    // The server is asked for its version only: the script has then done its work.
    let done = std::process::Command::new(root.join("start"))
        .env("SECKILL_REDIS_CONFIG", &root)
        .env("SECKILL_REDIS_DATA", folder.path())
        .env("SECKILL_REDIS_SERVER", "true")
        .env("SECKILL_REDIS_GATEWAY_PASSWORD", "abc")
        .status()
        .expect("it runs");
    assert!(done.success());
    let users = fs::read_to_string(folder.path().join("users.acl")).expect("written");
    assert!(users.contains("user gateway on >abc "));
    assert!(!users.contains("user operator"), "without a password there is no such user");
    assert!(users.lines().all(|line| line.starts_with("user ")));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn the_shipped_library_tells_the_servers_own_time() {
    let store = crate::support::keeper(&setting("TEST_REDIS_URL")).await;
    let client = redis::Client::open(setting("TEST_REDIS_URL")).expect("the URL is fine");
    let mut bare = client.get_multiplexed_async_connection().await.expect("the server is there");
    let mut time = async || {
        let (seconds, micros): (i64, i64) =
            redis::cmd("TIME").query_async(&mut bare).await.expect("its time");
        seconds * 1_000 + micros / 1_000
    };
    let own = sale(&format!("time-{}", uuid::Uuid::from_u128(rand_u128())));
    open_sale(&*store, &own, 1, 5).await;
    let before = time().await;
    let now = store.view(&own).await.expect("the sale is there").now.0;
    assert!((before..=time().await).contains(&now));
}

/// Two runs against the same server must not meet in one sale.
fn rand_u128() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    u128::from(RandomState::new().hash_one("high")) << 64 | u128::from(RandomState::new().hash_one("low"))
}
