//! Redis servers of the tests' own, and the library with a clock that a test moves.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::{BuyerId, Epoch, OrderId, Phase, ReservationId, SaleId, UnixMillis};
use redis::aio::MultiplexedConnection;
use stock::contract_suite::Harness;
use stock::{Rebuild, RedisOptions, RedisStock, ReserveRequest, StockConfig, StockStore};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The library as it is shipped.
pub(crate) const SHIPPED: &str = include_str!("../../src/redis/seckill.lua");
/// A state that is waited for must come within this.
const SOON: Duration = Duration::from_secs(20);

/// Waits until `check` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let began = Instant::now();
    while !check().await {
        assert!(began.elapsed() < SOON, "{what}: not within {SOON:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// What the environment must name.
pub(crate) fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} must be set: `cargo xtask test` does"))
}

/// A server on a port and in a folder of its own; killed when dropped.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// Starts one, with these arguments beside its own, and waits until it answers.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let common = ["--save", "", "--enable-debug-command", "yes"];
        Self::start_with(TempDir::new().expect("a folder"), [&common, arguments].concat()).await
    }

    /// Starts a sentinel, which keeps its configuration in a file.
    pub(crate) async fn sentinel() -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, "").expect("written");
        let file = file.to_str().expect("a plain path").to_owned();
        Self::start_with(folder, vec![&file, "--sentinel"]).await
    }

    async fn start_with(folder: TempDir, arguments: Vec<&str>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let mut server = Self { child: None, port, folder, arguments };
        server.run().await;
        server
    }

    /// Runs it again, in the same folder, and waits until it answers.
    pub(crate) async fn run(&mut self) {
        let mut command = Command::new(setting("TEST_REDIS_SERVER"));
        // A configuration file, where there is one, must come first.
        command.args(&self.arguments).args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.arg("--dir").arg(self.folder.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("TEST_REDIS_SERVER names a server"));
        until("the server answers", async || {
            let Ok(mut connection) = self.try_connect().await else { return false };
            // NOAUTH is an answer too; LOADING is none.
            let pong = redis::cmd("PING").query_async::<String>(&mut connection).await;
            pong.is_ok_and(|p| p == "PONG") || self.has_users()
        })
        .await;
    }

    fn has_users(&self) -> bool {
        self.arguments.iter().any(|a| a == "--aclfile")
    }

    /// Kills it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops or continues the process, without its knowing.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let done = Command::new("kill").args([name, &id]).status().expect("kill is there");
        assert!(done.success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    /// A bare connection.
    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        self.try_connect().await.expect("the server is there")
    }

    /// Sends one command, and expects it to be done.
    pub(crate) async fn tell(&self, words: &[&str]) {
        let mut connection = self.connect().await;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.exec_async(&mut connection).await.unwrap_or_else(|e| panic!("{words:?}: {e}"));
    }

    /// An adapter that keeps the library, connected.
    pub(crate) async fn keeper(&self) -> Arc<RedisStock> {
        keeper(&self.url()).await
    }
}

/// What makes a server a node of a cluster.
pub(crate) const CLUSTERED: [&str; 6] = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "500",
    // The loss of a node is to concern its own sales only.
    "--cluster-require-full-coverage",
    "no",
];

/// Three primaries that share the slots, and find each other missing after half a second.
pub(crate) async fn cluster() -> Vec<Server> {
    const SLOTS: [(&str, &str); 3] = [("0", "5000"), ("5001", "10000"), ("10001", "16383")];
    let mut nodes: Vec<Server> = Vec::new();
    for (from, to) in SLOTS {
        let node = Server::start(&CLUSTERED).await;
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

/// Where a store finds the cluster.
pub(crate) fn cluster_url(nodes: &[Server]) -> String {
    let hosts: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    format!("redis+cluster://{}", hosts.join(","))
}

/// How long a call may take where a test is not about that: a busy machine is no outage.
const PATIENT_MS: u64 = 10_000;

/// An adapter that keeps the library, connected.
pub(crate) async fn keeper(url: &str) -> Arc<RedisStock> {
    let options = RedisOptions { installer: true, call_ms_max: PATIENT_MS, ..RedisOptions::default() };
    connected(RedisStock::connect(url, options).expect("the URL is fine")).await
}

/// The store, once it answers.
pub(crate) async fn connected(store: RedisStock) -> Arc<RedisStock> {
    until("the store answers", async || store.ping().await.is_ok()).await;
    Arc::new(store)
}

/// The first moment of every test clock.
pub(crate) const START: i64 = 1_700_000_000_000;

/// The library, but for the one line that reads the time: a test sets it.
pub(crate) fn with_a_test_clock(library: &str) -> String {
    let (head, body) = library.split_once('\n').expect("the first line names the library");
    let body = body.replace("redis.call('TIME')", "test_time()");
    assert!(body.contains("test_time()"), "the library reads the time in one place");
    format!(
        "{head}
local test_now = {START}
local function test_time() return {{ math.floor(test_now / 1000), (test_now % 1000) * 1000 }} end
{body}
register('test_set_time', function(keys, args) test_now = tonumber(args[1]) return 1 end)"
    )
}

/// Servers whose library has a test clock: the contract suite's harness.
pub(crate) struct TestClock {
    /// One, or the nodes of a cluster.
    servers: Vec<Server>,
    /// What each caller in turn works with.
    stores: Vec<Arc<RedisStock>>,
    library: String,
    /// A bare one to each server.
    connections: Vec<MultiplexedConnection>,
    now: AtomicI64,
    how: Losing,
}

/// How the harness loses the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Losing {
    /// The keys are gone; the library's memory still takes them for armed.
    Keys,
    /// The library's memory is gone; the keys are as they were.
    Memory,
}

impl TestClock {
    /// On a server of its own, with so many callers.
    pub(crate) async fn start(library: String, stores: usize, how: Losing) -> Self {
        let server = Server::start(&[]).await;
        let url = server.url();
        Self::on(vec![server], &url, library, stores, how).await
    }

    /// On a cluster of its own: time passes on every node, and every node forgets.
    pub(crate) async fn start_cluster(library: String, how: Losing) -> Self {
        let nodes = cluster().await;
        let url = cluster_url(&nodes);
        Self::on(nodes, &url, library, 1, how).await
    }

    async fn on(servers: Vec<Server>, url: &str, library: String, stores: usize, how: Losing) -> Self {
        let (mut connections, mut callers) = (Vec::new(), Vec::new());
        for server in &servers {
            server.tell(&["FUNCTION", "LOAD", &library]).await;
            connections.push(server.connect().await);
        }
        for _ in 0..stores {
            callers.push(keeper(url).await);
        }
        Self { servers, stores: callers, library, connections, now: AtomicI64::new(START), how }
    }

    pub(crate) async fn lose_by(&self, how: Losing) {
        for server in &self.servers {
            match how {
                Losing::Keys => server.tell(&["FLUSHALL"]).await,
                Losing::Memory => server.tell(&["FUNCTION", "LOAD", "REPLACE", &self.library]).await,
            }
        }
        self.pass(0).await;
    }

    /// A bare connection, for what only a test may do: to the first server, where there are several.
    pub(crate) fn connection(&self) -> MultiplexedConnection {
        self.connections[0].clone()
    }
}

#[async_trait]
impl Harness for TestClock {
    fn store(&self) -> Arc<dyn StockStore> {
        match self.stores.as_slice() {
            [only] => only.clone(),
            several => Arc::new(crate::in_turn::InTurn::of(several.to_vec())),
        }
    }

    async fn now(&self) -> UnixMillis {
        UnixMillis(self.now.load(Ordering::SeqCst))
    }

    async fn pass(&self, millis: i64) {
        let now = self.now.fetch_add(millis, Ordering::SeqCst) + millis;
        let mut command = redis::cmd("FCALL");
        command.arg("seckill_test_set_time").arg(0).arg(now);
        for connection in &self.connections {
            let done = command.exec_async(&mut connection.clone()).await;
            done.expect("the test's library is loaded");
        }
    }

    async fn lose(&self) {
        self.lose_by(self.how).await;
    }
}

pub(crate) fn sale(name: &str) -> SaleId {
    name.parse().expect("test names are ids")
}

pub(crate) fn buyer(name: &str) -> BuyerId {
    name.parse().expect("test names are ids")
}

pub(crate) fn first(n: u64) -> ReservationId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    ReservationId::first(OrderId::mint(UnixMillis(1), random))
}

/// Terms that hold at any real moment.
pub(crate) fn always_open() -> StockConfig {
    StockConfig {
        version: 1,
        opens_at: UnixMillis(0),
        ends_at: UnixMillis(i64::MAX),
        phase: Phase::Active,
        per_user_limit: 5,
    }
}

/// Puts a sale of `total` units in force.
pub(crate) async fn open_sale(store: &dyn StockStore, sale: &SaleId, epoch: u64, total: u32) {
    let rebuild = Rebuild { sale: sale.clone(), epoch: Epoch(epoch), token: 1 };
    assert_eq!(store.rebuild_begin(&rebuild).await, Ok(true));
    assert_eq!(store.rebuild_finish(&rebuild, &always_open(), total, 1).await, Ok(true));
}

/// A request with a ticket that is good for an hour.
pub(crate) async fn request(store: &dyn StockStore, sale: &SaleId, n: u64) -> ReserveRequest {
    let view = store.view(sale).await.expect("the sale is there");
    ReserveRequest {
        sale: sale.clone(),
        id: first(n),
        buyer: buyer(&format!("buyer-{n}")),
        quantity: 1,
        epoch: view.epoch,
        expires_at: view.now.plus(3_600_000),
    }
}
