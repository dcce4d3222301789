//! Faults of the network between services and engines.

use std::time::Duration;

use super::evidence::Effect;
use super::messages::Ear;
use super::payments::Races;
use super::scene::Scene;
use crate::proxy::{From, Mood};
use crate::run::{Outcome, pause, wait_for};
use crate::stack::{Engine, Role};

/// For so long events are slow to reach inventory.
const LATE: Duration = Duration::from_secs(10);
/// For so long nothing that the order service says reaches the broker, and it stays away when it is killed.
const UNHEARD: Duration = Duration::from_millis(500);
const AWAY: Duration = Duration::from_millis(700);
/// How long it may take to come back.
const BACK_S_MAX: Duration = Duration::from_secs(60);
/// How long a rebuild may take.
const REBUILT_S_MAX: Duration = Duration::from_secs(30);

/// What the broker tells the gateways is lost for a while: confirms above all.
pub(super) fn confirms_lost(scene: &mut Scene<'_>) -> Outcome {
    let wire = scene.wire(Role::Gateway, Engine::RabbitMq)?;
    let before = wire.swallowed();
    wire.be(Mood::Swallow(From::Server));
    pause(Duration::from_secs(4));
    wire.be(Mood::Fine);
    if wire.swallowed() == before { Err("nothing was swallowed".into()) } else { Ok(()) }
}

/// The ledger refuses connections and has broken those there were.
pub(super) fn postgres_refusing(scene: &mut Scene<'_>) -> Outcome {
    everywhere(scene, Engine::Postgres, Duration::from_secs(10))
}

/// The broker cannot be reached.
pub(super) fn rabbitmq_cut_off(scene: &mut Scene<'_>) -> Outcome {
    everywhere(scene, Engine::RabbitMq, Duration::from_secs(3))
}

/// The stock store cannot be reached.
pub(super) fn redis_cut_off(scene: &mut Scene<'_>) -> Outcome {
    everywhere(scene, Engine::Redis, Duration::from_secs(3))
}

fn everywhere(scene: &mut Scene<'_>, engine: Engine, time: Duration) -> Outcome {
    let wires = scene.stack.wires.as_ref().ok_or("this platform has no proxies")?;
    wires.to(engine).for_each(|wire| wire.be(Mood::Cut));
    pause(time);
    wires.to(engine).for_each(|wire| wire.be(Mood::Fine));
    Ok(())
}

/// The order service commits what it is sent, and the broker does not hear that it did; then it is killed.
pub(super) fn acks_lost(scene: &mut Scene<'_>) -> Outcome {
    scene.wire(Role::Order, Engine::RabbitMq)?.be(Mood::Swallow(From::Client));
    pause(UNHEARD);
    scene.service(Role::Order, 0)?.kill();
    scene.wire(Role::Order, Engine::RabbitMq)?.be(Mood::Fine);
    pause(AWAY);
    let server = scene.service(Role::Order, 0)?;
    server.start()?;
    server.ready(BACK_S_MAX).map(|_| ())
}

/// Connections to the broker die, and neither side is told.
pub(super) fn half_open(scene: &mut Scene<'_>) -> Outcome {
    forget(scene, &[(Role::Gateway, Engine::RabbitMq), (Role::Order, Engine::RabbitMq)])
}

/// Likewise those to both stores.
pub(super) fn stores_silent(scene: &mut Scene<'_>) -> Outcome {
    forget(scene, &[(Role::Gateway, Engine::Redis), (Role::Order, Engine::Postgres)])
}

fn forget(scene: &Scene<'_>, ways: &[(Role, Engine)]) -> Outcome {
    for (role, engine) in ways {
        if scene.wire(*role, *engine)?.forget_connections() == 0 {
            return Err(format!("{role:?} has no connection to {engine:?}"));
        }
    }
    Ok(())
}

/// What gateways publish is under way while the stock is lost and rebuilt: it arrives behind the barrier.
pub(super) fn orders_late(scene: &mut Scene<'_>) -> Outcome {
    let before = scene.epoch()?;
    scene.wire(Role::Gateway, Engine::RabbitMq)?.be(Mood::Slow(Duration::from_secs(4)));
    // What was passed on already is in the lane, and what is held now has been reserved.
    pause(Duration::from_millis(500));
    scene.stack.engines.redis.command(&["FLUSHALL"])?;
    wait_for("the stock being rebuilt", REBUILT_S_MAX, || scene.epoch().is_ok_and(|now| now > before))?;
    pause(Duration::from_secs(3));
    scene.wire(Role::Gateway, Engine::RabbitMq)?.be(Mood::Fine);
    Ok(())
}

/// The stock is lost while orders wait for a consumer that hears little of the broker; the ledger itself answers.
pub(super) fn lost_behind_backlog(scene: &mut Scene<'_>) -> Outcome {
    scene.wire(Role::Order, Engine::RabbitMq)?.be(Mood::Slow(Duration::from_secs(2)));
    pause(Duration::from_secs(2));
    scene.stack.engines.redis.command(&["FLUSHALL"])?;
    pause(Duration::from_secs(2));
    scene.wire(Role::Order, Engine::RabbitMq)?.be(Mood::Fine);
    Ok(())
}

/// Events reach inventory late: also those that give units back. Those of the races are counted.
pub(super) fn events_delayed(scene: &mut Scene<'_>) -> Outcome {
    let races = Races::begin(scene, &[])?;
    races.opened(scene)?;
    let wire = scene.wire(Role::Inventory, Engine::RabbitMq)?;
    wire.be(Mood::Slow(Duration::from_secs(2)));
    let rabbitmq = &scene.stack.engines.rabbitmq;
    let mut ear = Ear::new(rabbitmq)?;
    ear.hear_races(rabbitmq, &scene.sale, LATE)?;
    let late = ear.end(rabbitmq);
    wire.be(Mood::Fine);
    scene.note(Effect::ToldLate, late.into());
    races.end().map(|_| ())
}
