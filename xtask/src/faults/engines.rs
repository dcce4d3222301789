//! Faults of the engines.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::scene::Scene;
use crate::run::{Outcome, pause, to_end, wait_for};
use crate::stack::Role;
use crate::subject::Subject;

/// How long a killed engine stays away.
const AWAY: Duration = Duration::from_millis(500);
/// How long an engine may take to come back.
const BACK_S_MAX: Duration = Duration::from_secs(60);
/// How long a small stock may take to be sold.
const SOLD_OUT_S_MAX: Duration = Duration::from_secs(60);

pub(super) fn redis_killed(scene: &mut Scene<'_>) -> Outcome {
    let server = &mut scene.stack.engines.redis.server;
    server.kill();
    pause(AWAY);
    server.start()?;
    server.ready(BACK_S_MAX).map(|_| ())
}

pub(super) fn redis_flushed(scene: &mut Scene<'_>) -> Outcome {
    scene.stack.engines.redis.command(&["FLUSHALL"]).map(|_| ())
}

pub(super) fn redis_paused(scene: &mut Scene<'_>) -> Outcome {
    let server = &scene.stack.engines.redis.server;
    server.pause()?;
    pause(Duration::from_secs(5));
    server.resume()
}

/// The append-only files as they were some seconds ago, under a server that knows no better.
pub(super) fn redis_restored(scene: &mut Scene<'_>) -> Outcome {
    let redis = &mut scene.stack.engines.redis;
    let (now, old) = (redis.data().join("appendonlydir"), redis.data().join("old"));
    copy_files(&now, &old)?;
    pause(Duration::from_secs(3));
    redis.server.kill();
    fs::remove_dir_all(&now).map_err(|e| format!("{}: {e}", now.display()))?;
    fs::rename(&old, &now).map_err(|e| format!("{}: {e}", old.display()))?;
    redis.server.start()?;
    redis.server.ready(BACK_S_MAX).map(|_| ())
}

fn copy_files(from: &Path, to: &Path) -> Outcome {
    let told = |e: std::io::Error| format!("{}: {e}", from.display());
    fs::create_dir_all(to).map_err(told)?;
    for entry in fs::read_dir(from).map_err(told)? {
        let entry = entry.map_err(told)?;
        fs::copy(entry.path(), to.join(entry.file_name())).map_err(told)?;
    }
    Ok(())
}

/// The stock is lost, and an operator adds to it before it is back.
pub(super) fn restock_during_rebuild(scene: &mut Scene<'_>) -> Outcome {
    scene.stack.engines.redis.command(&["FLUSHALL"])?;
    let path = format!("/admin/v1/sales/{}/restock", scene.sale);
    let answer = scene.stack.admin_post(&path, &json!({"quantity": 1_000}))?;
    // A refusal is an answer too, but then nothing was tested.
    if answer["stock"].is_null() { Err(format!("the restock was refused: {answer}")) } else { Ok(()) }
}

/// Adds to `free` in the packed state of the storm's sale: 4 bytes behind two numbers of 6.
fn overstate(scene: &Scene<'_>) -> Outcome {
    const SCRIPT: &str = "local p = redis.call('GET', KEYS[1]) \
        local free = struct.unpack('>I4', string.sub(p, 13, 16)) \
        redis.call('SET', KEYS[1], string.sub(p, 1, 12) .. struct.pack('>I4', free + 5000) .. string.sub(p, 17)) \
        return free";
    let key = format!("seckill:{{{}}}:state", scene.sale);
    let answer = scene.stack.engines.redis.command(&["EVAL", SCRIPT, "1", &key])?;
    if answer.starts_with(':') { Ok(()) } else { Err(format!("Redis was not deceived: {answer}")) }
}

/// The stock store believes in more than there is; once the ledger has refused some of it, the operator has
/// the stock written anew.
pub(super) fn stock_overstated(scene: &mut Scene<'_>) -> Outcome {
    overstate(scene)?;
    let refused = || scene.stack.metric(Role::Order, "seckill_lane_messages_total{outcome=\"rejected\"}");
    let before = refused();
    let beyond = || {
        let ledger = scene.ledger().unwrap_or_default();
        ledger["order_store"]["taken"].as_u64() > ledger["total"].as_u64()
    };
    wait_for("all being sold", SOLD_OUT_S_MAX, || refused() > before || beyond())?;
    scene.stack.engines.redis.command(&["DEL", &format!("seckill:{{{}}}:state", scene.sale)]).map(|_| ())
}

pub(super) fn rabbitmq_killed(scene: &mut Scene<'_>) -> Outcome {
    let server = &mut scene.stack.engines.rabbitmq.server;
    server.kill();
    pause(AWAY);
    server.start()?;
    // Most of the pause that buyers see is the broker's own.
    let took = server.ready(BACK_S_MAX)?;
    println!("   the broker itself answered {:.1} s after its start", took.as_secs_f64());
    Ok(())
}

pub(super) fn memory_alarm(scene: &mut Scene<'_>) -> Outcome {
    let ctl = scene.stack.engines.rabbitmq.ctl();
    let watermark = |share: &str| {
        let mut command = std::process::Command::new(&ctl);
        to_end(command.args(["-q", "set_vm_memory_high_watermark", share]))
    };
    watermark("0.00001")?;
    pause(Duration::from_secs(4));
    watermark("0.4")
}

pub(super) fn postgres_killed(scene: &mut Scene<'_>) -> Outcome {
    let server = &mut scene.stack.engines.postgres.server;
    server.kill();
    pause(AWAY);
    server.start()?;
    server.ready(BACK_S_MAX).map(|_| ())
}
