//! More nodes of the engines: a replica and sentinels for Redis, a cluster for RabbitMQ.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::rabbitmq::{self, RabbitMq};
use super::redis::{self, Redis};
use super::{Engines, START_S_MAX};
use crate::ports;
use crate::run::{Outcome, wait_for};
use crate::server::{Recipe, Server};

/// What the sentinels call their primary.
const PRIMARY: &str = "main";
/// Sentinels; two of them must agree that the primary is gone.
const SENTINELS: usize = 3;
/// How long a primary must be silent before a sentinel holds it for gone.
const DOWN_AFTER_MS: u32 = 1_000;
/// What the sentinels of an installation let everybody do: these do the same.
const RIGHTS: &str = include_str!("../../../infra/ha/sentinel.rights");
/// How long replica and sentinels may take to know each other.
const ACQUAINTED_S_MAX: Duration = Duration::from_secs(60);

/// The nodes beside the first ones.
pub(crate) struct HighAvailability {
    pub(crate) replica: Redis,
    sentinels: Vec<(Server, u16)>,
    /// The second and the third node.
    pub(crate) nodes: Vec<RabbitMq>,
}

impl HighAvailability {
    /// Starts them beside engines that run, and waits until they belong together.
    pub(super) fn beside(engines: &Engines, parameters: &str) -> Outcome<Self> {
        let (home, program) = (engines.home(), engines.redis.program());
        let replica = Redis::called("redis-replica", program, &home.folder("redis-replica")?)?;
        let mut replica = replica.following(&engines.redis);
        replica.server.start()?;
        let mut sentinels = Vec::new();
        for n in 1..=SENTINELS {
            let name = format!("sentinel-{n}");
            let (mut server, port) = sentinel(&name, program, &home.folder(&name)?, engines.redis.port)?;
            server.start()?;
            sentinels.push((server, port));
        }
        let mut nodes = Vec::new();
        for n in 2..=3 {
            let name = format!("rabbitmq-{n}");
            let mut node = engines.rabbitmq.joining(&name, &home.folder(&name)?, parameters)?;
            node.start()?;
            nodes.push(node);
        }
        let mut all = Self { replica, sentinels, nodes };
        all.ready()?;
        all.acquainted(engines)?;
        Ok(all)
    }

    /// Waits until all of them answer.
    pub(super) fn ready(&mut self) -> Outcome {
        self.replica.server.ready(START_S_MAX)?;
        for (sentinel, _) in &mut self.sentinels {
            sentinel.ready(START_S_MAX)?;
        }
        for node in &mut self.nodes {
            node.server.ready(START_S_MAX)?;
        }
        Ok(())
    }

    /// Waits until the sentinels know of each other and of the replica, and the nodes are one cluster.
    fn acquainted(&self, engines: &Engines) -> Outcome {
        let knows = |port: u16| {
            let told = redis::command(port, &["INFO", "sentinel"]).unwrap_or_default();
            told.contains(&format!("slaves=1,sentinels={SENTINELS}"))
        };
        wait_for("the sentinels knowing each other", ACQUAINTED_S_MAX, || {
            self.sentinels.iter().all(|(_, port)| knows(*port))
        })?;
        wait_for("the nodes being one cluster", ACQUAINTED_S_MAX, || {
            let told = engines.rabbitmq.api("GET", "/api/nodes", "").unwrap_or_default();
            let running = told.as_array().into_iter().flatten().filter(|node| node["running"] == true);
            running.count() == self.nodes.len() + 1
        })?;
        Ok(())
    }

    /// Where clients ask for the primary.
    pub(super) fn stock_url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{PRIMARY}", hosts.join(","))
    }

    /// Where clients find the nodes.
    pub(super) fn queue_url(&self, first: &RabbitMq) -> String {
        let ports: Vec<u16> = [first].into_iter().chain(&self.nodes).map(|node| node.port).collect();
        rabbitmq::url("amqp", &ports)
    }

    /// Their servers, for their logs.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Server> {
        let sentinels = self.sentinels.iter().map(|(server, _)| server);
        [&self.replica.server].into_iter().chain(sentinels).chain(self.nodes.iter().map(|node| &node.server))
    }
}

/// A sentinel that watches the server on this port; not started yet.
fn sentinel(name: &str, program: &Path, folder: &Path, primary: u16) -> Outcome<(Server, u16)> {
    let port = ports::free()?;
    let file = folder.join("sentinel.conf");
    // Sentinels write what they learn into this file.
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {PRIMARY} 127.0.0.1 {primary} 2\n\
         sentinel down-after-milliseconds {PRIMARY} {DOWN_AFTER_MS}\nsentinel failover-timeout {PRIMARY} 5000\n{RIGHTS}",
        folder.display()
    );
    fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    let recipe = Recipe::new(program).arguments([file.display().to_string(), "--sentinel".into()]);
    let answers = Box::new(move || redis::command(port, &["PING"]).is_ok_and(|answer| answer == "+PONG"));
    Ok((Server::new(name, recipe, folder.join("log"), answers), port))
}
