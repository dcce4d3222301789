//! The ways from services to their engines.

use std::collections::BTreeMap;

use super::Role;
use crate::engines::Engines;
use crate::proxy::Proxy;
use crate::run::Outcome;

/// Which engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Engine {
    /// The stock store.
    Redis,
    /// The queue and the bus.
    RabbitMq,
    /// The ledger.
    Postgres,
}

/// Who speaks to what.
const WAYS: [(Role, Engine); 9] = [
    (Role::Gateway, Engine::Redis),
    (Role::Gateway, Engine::RabbitMq),
    (Role::Inventory, Engine::Redis),
    (Role::Inventory, Engine::RabbitMq),
    (Role::Inventory, Engine::Postgres),
    (Role::Order, Engine::RabbitMq),
    (Role::Order, Engine::Postgres),
    (Role::Notify, Engine::RabbitMq),
    (Role::Notify, Engine::Postgres),
];

/// A proxy for every way.
pub(crate) struct Wires(BTreeMap<(Role, Engine), Proxy>);

impl Wires {
    /// Lays them.
    pub(super) fn lay(engines: &Engines) -> Outcome<Self> {
        let mut wires = BTreeMap::new();
        for way in WAYS {
            wires.insert(way, Proxy::to(&[port_of(engines, way.1)])?);
        }
        Ok(Self(wires))
    }

    /// The way of every service of this role to this engine.
    pub(crate) fn of(&self, role: Role, engine: Engine) -> Outcome<&Proxy> {
        self.0.get(&(role, engine)).ok_or_else(|| format!("{role:?} does not speak to {engine:?}"))
    }

    /// Every way to this engine.
    pub(crate) fn to(&self, engine: Engine) -> impl Iterator<Item = &Proxy> {
        self.0.iter().filter(move |((_, to), _)| *to == engine).map(|(_, proxy)| proxy)
    }
}

fn port_of(engines: &Engines, engine: Engine) -> u16 {
    match engine {
        Engine::Redis => engines.redis.clients_port,
        Engine::RabbitMq => engines.rabbitmq.clients_port,
        Engine::Postgres => engines.postgres.port,
    }
}

/// The settings that tell a service where its engines are.
pub(super) fn engine_urls(
    role: Role,
    engines: &Engines,
    wires: Option<&Wires>,
    database: &str,
) -> [(&'static str, String); 3] {
    let by = |engine| wires.and_then(|wires| wires.of(role, engine).ok()).map(Proxy::port);
    [
        ("SECKILL_STOCK_URL", engines.stock_url(by(Engine::Redis))),
        ("SECKILL_QUEUE_URL", engines.queue_url(by(Engine::RabbitMq))),
        ("SECKILL_DATABASE_URL", engines.database_url(by(Engine::Postgres), database)),
    ]
}
