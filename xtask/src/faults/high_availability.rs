//! Faults of one node among several.

use std::time::Duration;

use serde_json::Value;

use super::scene::Scene;
use crate::run::{Outcome, pause, wait_for};
use crate::server::Server;

/// How long a killed node stays away: longer than the others may take to go on without it.
const AWAY: Duration = Duration::from_secs(8);
/// How long orders may take to be committed again, and the stock store to hear of it, without a node.
const GOES_ON_S_MAX: Duration = Duration::from_secs(5);
/// Until what the killed node had delivered before has been worked off.
const WORKED_OFF: Duration = Duration::from_secs(1);
/// How long a node may take to come back.
const BACK_S_MAX: Duration = Duration::from_secs(120);

/// Kills the Redis that takes writes; the sentinels promote the other one.
pub(super) fn primary_killed(scene: &mut Scene<'_>) -> Outcome {
    let engines = &mut scene.stack.engines;
    let more = engines.more.as_mut().ok_or("this platform has one Redis only")?;
    let primary = match engines.redis.is_primary() {
        true => &mut engines.redis.server,
        false => &mut more.replica.server,
    };
    kill_and_start(primary)
}

/// Kills the node that leads the busiest lane. Buyers alone would not notice if orders piled up in the lanes from then
/// on: so orders must be committed and their units settled while the node is away.
pub(super) fn leader_killed(scene: &mut Scene<'_>) -> Outcome {
    let queues = scene.stack.engines.rabbitmq.api("GET", "/api/queues", "")?;
    let leader = leader_of_busiest_lane(&queues).ok_or("no lane has a leader")?;
    broker(scene, &leader)?.kill();
    pause(WORKED_OFF);
    let taken = scene.ledger()?["order_store"]["taken"].as_u64().ok_or("the ledger tells no units")?;
    let settled = || scene.ledger().ok()?["stock_store"]["settled"].as_u64();
    wait_for("orders going on without the node", GOES_ON_S_MAX, || settled().is_some_and(|n| n > taken))?;
    pause(AWAY);
    let node = broker(scene, &leader)?;
    node.start()?;
    node.ready(BACK_S_MAX).map(|_| ())
}

/// The RabbitMQ node of this name.
fn broker<'a>(scene: &'a mut Scene<'_>, name: &str) -> Outcome<&'a mut Server> {
    let engines = &mut scene.stack.engines;
    let more = engines.more.as_mut().ok_or("this platform has one broker only")?;
    let mut nodes = [&mut engines.rabbitmq].into_iter().chain(&mut more.nodes);
    let node = nodes.find(|node| node.node == name).ok_or("the leader is no node of ours")?;
    Ok(&mut node.server)
}

fn kill_and_start(server: &mut Server) -> Outcome {
    server.kill();
    pause(AWAY);
    server.start()?;
    server.ready(BACK_S_MAX).map(|_| ())
}

fn leader_of_busiest_lane(queues: &Value) -> Option<String> {
    let lanes = queues
        .as_array()?
        .iter()
        .filter(|queue| queue["name"].as_str().is_some_and(|name| name.starts_with("seckill.orders.lane-")));
    let published = |lane: &&Value| lane["message_stats"]["publish"].as_u64().unwrap_or(0);
    Some(lanes.max_by_key(published)?["leader"].as_str()?.to_owned())
}
