//! More than one server: sentinels that name the primary, and a cluster.

use std::collections::BTreeSet;

use stock::{Reserved, StockError, StockStore};

use crate::support::{Server, keeper, open_sale, request, sale, until};

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
    assert_eq!(store.reserve(&ticket).await, Ok(Reserved::Reserved));
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
    until("it reserves", async || store.reserve(&ticket).await == Ok(Reserved::Reserved)).await;
    drop(replica);
}

/// Three primaries that share the slots.
async fn cluster() -> Vec<Server> {
    const SLOTS: [(&str, &str); 3] = [("0", "5000"), ("5001", "10000"), ("10001", "16383")];
    let mut nodes: Vec<Server> = Vec::new();
    for (from, to) in SLOTS {
        let node = Server::start(&["--cluster-enabled", "yes"]).await;
        node.tell(&["CLUSTER", "ADDSLOTSRANGE", from, to]).await;
        if let Some(first) = nodes.first() {
            node.tell(&["CLUSTER", "MEET", "127.0.0.1", &first.port.to_string()]).await;
        }
        nodes.push(node);
    }
    for node in &nodes {
        until("the cluster agrees", async || {
            let mut info = redis::cmd("CLUSTER");
            info.arg("INFO");
            let told: String = info.query_async(&mut node.connect().await).await.expect("it answers");
            told.contains("cluster_state:ok") && told.contains("cluster_known_nodes:3")
        })
        .await;
    }
    nodes
}

async fn has_keys(node: &Server) -> bool {
    redis::cmd("DBSIZE").query_async::<u64>(&mut node.connect().await).await.expect("a size") > 0
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: cargo xtask test runs it"]
async fn a_cluster_spreads_sales_and_each_is_whole() {
    let nodes = cluster().await;
    let hosts: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let store = keeper(&format!("redis+cluster://{}", hosts.join(","))).await;
    let sales: Vec<_> = (0..12).map(|n| sale(&format!("sale-{n}"))).collect();
    for sale in &sales {
        open_sale(&*store, sale, 1, 5).await;
        let ticket = request(&*store, sale, 1).await;
        assert_eq!(store.reserve(&ticket).await, Ok(Reserved::Reserved));
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
        assert_eq!(store.reserve(&ticket).await, Ok(Reserved::Reserved));
    }
}
