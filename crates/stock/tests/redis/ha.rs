//! More than one server: sentinels that name the primary, and a cluster.

use std::collections::BTreeSet;

use domain::{Epoch, SaleId};
use stock::{Rebuild, RedisOptions, RedisStock, ReserveOutcome, StockError, StockStore};

use crate::support::{
    CLUSTERED, Server, cluster, cluster_url, connected, keeper, open_sale, request, sale, until,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn sentinels_name_the_new_primary_and_the_store_follows() {
    let mut primary = Server::start(&[]).await;
    let port = primary.port.to_string();
    let replica = Server::start(&["--replicaof", &format!("127.0.0.1 {port}")]).await;
    let sentinel = Server::sentinel().await;
    sentinel.tell(&["SENTINEL", "MONITOR", "main", "127.0.0.1", &port, "1"]).await;
    sentinel.tell(&["SENTINEL", "SET", "main", "down-after-milliseconds", "300"]).await;
    sentinel.tell(&["SENTINEL", "SET", "main", "failover-timeout", "2000"]).await;
    let store = keeper(&format!("redis+sentinel://127.0.0.1:{}/main/0", sentinel.port)).await;
    let shoes = sale("shoes");
    open_sale(&*store, &shoes, 1, 5).await;
    let ticket = request(&*store, &shoes, 1).await;
    assert_eq!(store.reserve(&ticket).await, Ok(ReserveOutcome::Reserved));
    until("the sentinel knows the replica", async || {
        let mut command = redis::cmd("SENTINEL");
        command.arg("REPLICAS").arg("main");
        let found: redis::RedisResult<Vec<redis::Value>> =
            command.query_async(&mut sentinel.connect().await).await;
        found.is_ok_and(|replicas| replicas.len() == 1)
    })
    .await;
    primary.kill();
    let unknown = Err(StockError::UnknownSale(shoes.clone()));
    until("the promoted replica is found", async || store.view(&shoes).await.map(drop) == unknown).await;
    open_sale(&*store, &shoes, 2, 5).await;
    let ticket = request(&*store, &shoes, 2).await;
    until("it reserves", async || store.reserve(&ticket).await == Ok(ReserveOutcome::Reserved)).await;
    drop(replica);
}

async fn has_keys(node: &Server) -> bool {
    redis::cmd("DBSIZE").query_async::<u64>(&mut node.connect().await).await.expect("a size") > 0
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_cluster_spreads_sales_and_each_is_whole() {
    let nodes = cluster().await;
    let store = keeper(&cluster_url(&nodes)).await;
    let sales: Vec<_> = (0..12).map(|n| sale(&format!("sale-{n}"))).collect();
    for sale in &sales {
        open_sale(&*store, sale, 1, 5).await;
        let ticket = request(&*store, sale, 1).await;
        assert_eq!(store.reserve(&ticket).await, Ok(ReserveOutcome::Reserved));
        assert_eq!(store.settle(sale, &[ticket.id]).await, Ok(()));
        assert_eq!(store.release(sale, ticket.id).await.map(|r| r.units), Ok(1));
        assert!(store.stale(sale, 0, 9).await.is_ok());
    }
    for node in &nodes {
        assert!(has_keys(node).await, "every node has some sales");
    }
    // One node loses its library and its memory: its sales are unknown, the others go on.
    nodes[1].tell(&["FUNCTION", "FLUSH"]).await;
    let mut lost = BTreeSet::new();
    for sale in &sales {
        match store.view(sale).await {
            Ok(_) => {}
            Err(StockError::UnknownSale(_)) => _ = lost.insert(sale.clone()),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(!lost.is_empty() && lost.len() < sales.len(), "{lost:?}");
    for sale in &lost {
        open_sale(&*store, sale, 2, 5).await;
        let ticket = request(&*store, sale, 2).await;
        assert_eq!(store.reserve(&ticket).await, Ok(ReserveOutcome::Reserved));
    }
}

/// A replica of this node of the cluster.
async fn replica_of(primary: &Server) -> Server {
    let replica = Server::start(&CLUSTERED).await;
    replica.tell(&["CLUSTER", "MEET", "127.0.0.1", &primary.port.to_string()]).await;
    let mut whoami = redis::cmd("CLUSTER");
    let id: String =
        whoami.arg("MYID").query_async(&mut primary.connect().await).await.expect("it has an id");
    until("it follows", async || {
        let mut follow = redis::cmd("CLUSTER");
        // Refused until it knows the node.
        let followed = follow.arg("REPLICATE").arg(&id).exec_async(&mut replica.connect().await).await;
        followed.is_ok()
    })
    .await;
    until("it has caught up", async || {
        let mut info = redis::cmd("INFO");
        let told: redis::RedisResult<String> =
            info.arg("replication").query_async(&mut replica.connect().await).await;
        told.is_ok_and(|told| told.contains("master_link_status:up"))
    })
    .await;
    replica
}

/// The sales that this node of the cluster has, and the others.
async fn divided(sales: &[SaleId], node: &Server) -> (Vec<SaleId>, Vec<SaleId>) {
    let (mut theirs, mut others) = (Vec::new(), Vec::new());
    for sale in sales {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(format!("seckill:{{{sale}}}:state"));
        // Another node's is answered with an error.
        let is_there = exists.query_async::<bool>(&mut node.connect().await).await;
        if is_there == Ok(true) { theirs.push(sale.clone()) } else { others.push(sale.clone()) }
    }
    (theirs, others)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_cluster_goes_on_when_one_node_stands_still() {
    let nodes = cluster().await;
    let replica = replica_of(&nodes[0]).await;
    // With the bounds that are shipped: how soon a silent node is noticed hangs on them.
    let options = RedisOptions { installer: true, ..RedisOptions::default() };
    let store = connected(RedisStock::connect(&cluster_url(&nodes), options).expect("the URL is fine")).await;
    let sales: Vec<_> = (0..12).map(|n| sale(&format!("sale-{n}"))).collect();
    for sale in &sales {
        open_sale(&*store, sale, 1, 5).await;
    }
    let (theirs, others) = divided(&sales, &nodes[0]).await;
    // Its connections stay, and nothing comes of them. The others' sales are asked for all the time, so the store's
    // connection as a whole is never silent.
    nodes[0].signal("-STOP");
    assert!(!theirs.is_empty() && !others.is_empty(), "every node has some");
    let crowd = tokio::spawn({
        let (store, others) = (store.clone(), others.clone());
        async move {
            loop {
                for sale in &others {
                    let _ = store.view(sale).await;
                }
            }
        }
    });
    until("it is ready all the same", async || store.ping().await.is_ok()).await;
    until("its replica is found", async || {
        let mut found = true;
        for sale in &theirs {
            found &= store.view(sale).await.map(drop) == Err(StockError::UnknownSale(sale.clone()));
        }
        found
    })
    .await;
    crowd.abort();
    for sale in &theirs {
        open_sale(&*store, sale, 2, 5).await;
        let ticket = request(&*store, sale, 2).await;
        assert_eq!(store.reserve(&ticket).await, Ok(ReserveOutcome::Reserved));
    }
    for sale in &others {
        let view = store.view(sale).await;
        assert_eq!(view.map(|view| view.epoch.0), Ok(1), "never touched");
    }
    nodes[0].signal("-CONT");
    drop(replica);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_rebuild_waits_for_no_node_but_the_sales_own() {
    let nodes = cluster().await;
    let options = RedisOptions { installer: true, ..RedisOptions::default() };
    let store = connected(RedisStock::connect(&cluster_url(&nodes), options).expect("the URL is fine")).await;
    let sales: Vec<_> = (0..12).map(|n| sale(&format!("sale-{n}"))).collect();
    for sale in &sales {
        open_sale(&*store, sale, 1, 5).await;
    }
    let (_, others) = divided(&sales, &nodes[0]).await;
    // Nobody takes its place: it cannot be asked for its library.
    nodes[0].signal("-STOP");
    let rebuild = Rebuild { sale: others[0].clone(), epoch: Epoch(2), token: 7 };
    until("a sale of another node", async || store.rebuild_begin(&rebuild).await == Ok(true)).await;
    nodes[0].signal("-CONT");
}
