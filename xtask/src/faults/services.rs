//! Faults of the services themselves.

use std::time::Duration;

use super::evidence::Effect;
use super::messages::Ear;
use super::payments::Races;
use super::scene::Scene;
use crate::process::Signal;
use crate::run::{Outcome, pause};
use crate::stack::Role;
use crate::subject::Subject;

/// For so long events reach a service that acknowledges none, before it is killed.
const UNACKNOWLEDGED: Duration = Duration::from_millis(500);
/// How long a killed service stays away.
const AWAY: Duration = Duration::from_millis(700);
/// How long a service asked to stop may take.
const STOP_S_MAX: Duration = Duration::from_secs(30);
/// How long a service may take to come back.
const BACK_S_MAX: Duration = Duration::from_secs(60);

/// Kills the first service of this role, and starts it again after a moment.
fn kill_first(scene: &mut Scene<'_>, role: Role) -> Outcome {
    let server = scene.service(role, 0)?;
    server.kill();
    pause(AWAY);
    server.start()?;
    server.ready(BACK_S_MAX).map(|_| ())
}

/// Stops the clock of the first service of this role.
fn pause_first(scene: &mut Scene<'_>, role: Role, time: Duration) -> Outcome {
    let server = scene.service(role, 0)?;
    server.pause()?;
    pause(time);
    server.resume()
}

pub(super) fn gateway_killed(scene: &mut Scene<'_>) -> Outcome {
    kill_first(scene, Role::Gateway)
}

/// Longer than the fence age of [`super::catalogue`]'s hasty shapes.
pub(super) fn gateway_paused(scene: &mut Scene<'_>) -> Outcome {
    pause_first(scene, Role::Gateway, Duration::from_secs(30))
}

pub(super) fn order_killed(scene: &mut Scene<'_>) -> Outcome {
    kill_first(scene, Role::Order)
}

/// Again and again: some of these deaths fall between an event's publish and its mark. Its event is then told again.
pub(super) fn order_killed_repeatedly(scene: &mut Scene<'_>) -> Outcome {
    let (mut ear, mut again) = (Ear::new(&scene.stack.engines.rabbitmq)?, 0);
    for _ in 0..5 {
        kill_first(scene, Role::Order)?;
        pause(Duration::from_millis(300 + scene.below(500)));
        again += ear.hear_again(&scene.stack.engines.rabbitmq)?;
    }
    ear.end(&scene.stack.engines.rabbitmq);
    scene.note(Effect::ToldAgain, again.into());
    Ok(())
}

/// Past the acknowledgement time-out of [`super::catalogue`]'s impatient broker.
pub(super) fn order_paused(scene: &mut Scene<'_>) -> Outcome {
    pause_first(scene, Role::Order, Duration::from_secs(25))
}

/// With events in its hands: some hundred milliseconds of them, for what it has it acknowledges at once.
pub(super) fn inventory_killed(scene: &mut Scene<'_>) -> Outcome {
    scene.service(Role::Inventory, 0)?.pause()?;
    pause(UNACKNOWLEDGED);
    kill_first(scene, Role::Inventory)
}

/// Events wait for a minute, and come all at once: also those that give units back.
pub(super) fn inventory_paused(scene: &mut Scene<'_>) -> Outcome {
    let races = Races::begin(scene, &[])?;
    races.opened(scene)?;
    pause_first(scene, Role::Inventory, Duration::from_secs(60))?;
    races.end().map(|_| ())
}

/// One of two of each, all at the same moment; the others carry on alone for a while.
pub(super) fn one_of_each_killed(scene: &mut Scene<'_>) -> Outcome {
    let roles = [Role::Gateway, Role::Inventory, Role::Order];
    for role in roles {
        scene.service(role, 0)?.kill();
    }
    pause(Duration::from_secs(4));
    for role in roles {
        let server = scene.service(role, 0)?;
        server.start()?;
        server.ready(BACK_S_MAX)?;
    }
    Ok(())
}

/// Every service in turn is asked to stop, and started again.
pub(super) fn rolling_restart(scene: &mut Scene<'_>) -> Outcome {
    for n in 0..scene.stack.services.len() {
        let server = &mut scene.stack.services[n].server;
        server.stop(Signal::TERM, STOP_S_MAX)?;
        server.start()?;
        server.ready(BACK_S_MAX)?;
    }
    Ok(())
}

/// Services only, all at once; they come back in an order that the seed decides.
pub(super) fn services_killed(scene: &mut Scene<'_>) -> Outcome {
    scene.stack.kill();
    for n in shuffled(scene, scene.stack.services.len()) {
        pause(Duration::from_millis(scene.below(400)));
        scene.stack.services[n].server.start()?;
    }
    scene.stack.ready().map(|_| ())
}

/// Services and engines; they come back in an order that the seed decides.
pub(super) fn everything_killed(scene: &mut Scene<'_>) -> Outcome {
    scene.stack.kill();
    let engines = &mut scene.stack.engines;
    for server in [&mut engines.redis.server, &mut engines.rabbitmq.server, &mut engines.postgres.server] {
        server.kill();
    }
    let services = scene.stack.services.len();
    for n in shuffled(scene, services + 3) {
        pause(Duration::from_millis(scene.below(400)));
        let engines = &mut scene.stack.engines;
        match n.checked_sub(services) {
            None => scene.stack.services[n].server.start()?,
            Some(0) => engines.redis.server.start()?,
            Some(1) => engines.rabbitmq.server.start()?,
            Some(_) => engines.postgres.server.start()?,
        }
    }
    scene.stack.engines.ready()?;
    scene.stack.ready().map(|_| ())
}

fn shuffled(scene: &mut Scene<'_>, length: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..length).collect();
    for n in (1..length).rev() {
        let other = scene.below(n as u64 + 1);
        order.swap(n, usize::try_from(other).unwrap_or(n));
    }
    order
}
