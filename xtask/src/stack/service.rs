//! One service as a process.

use std::path::Path;

use crate::http::{body_of, get, is_fine, is_success};
use crate::ports;
use crate::run::Outcome;
use crate::server::{Recipe, Server};

/// Which service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Role {
    /// Buyers and operators come in here.
    Gateway,
    /// Sales and their stock.
    Inventory,
    /// The ledger.
    Order,
    /// Notices.
    Notify,
}

impl Role {
    /// The name of its binary.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Inventory => "inventory",
            Self::Order => "order",
            Self::Notify => "notify",
        }
    }
}

/// One of them.
pub(crate) struct Service {
    pub(crate) role: Role,
    pub(crate) server: Server,
    /// `SECKILL_LISTEN`.
    pub(crate) port: u16,
    /// `SECKILL_ADMIN_LISTEN`.
    pub(crate) admin_port: u16,
}

impl Service {
    /// The `n`th of this role; not started yet.
    pub(super) fn new(role: Role, n: usize, binaries: &Path, folder: &Path) -> Outcome<Self> {
        let (port, admin_port) = (ports::free()?, ports::free()?);
        let name = format!("{}-{n}", role.name());
        let recipe = Recipe::new(&binaries.join(role.name()))
            .variable("SECKILL_LISTEN", format!("127.0.0.1:{port}"))
            .variable("SECKILL_ADMIN_LISTEN", format!("127.0.0.1:{admin_port}"));
        let ready = Box::new(move || is_fine(admin_port, "/readyz"));
        let server = Server::new(&name, recipe, folder.join(format!("{name}.log")), ready);
        Ok(Self { role, server, port, admin_port })
    }

    /// Sets a setting, for the next start.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let environment = &mut self.server.recipe_mut().environment;
        environment.retain(|(there, _)| there != name);
        environment.push((name.into(), value.into()));
    }

    /// Its `/metrics`; none while it does not answer.
    pub(crate) fn metrics(&self) -> Option<Metrics> {
        let answer = get(self.admin_port, "/metrics", "").ok()?;
        is_success(&answer).then(|| Metrics(body_of(&answer).to_owned()))
    }

    /// The sum over them of the series whose line begins so; 0 while it does not answer.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        self.metrics().map_or(0.0, |metrics| metrics.sum(series))
    }
}

/// What a service told of itself at one moment.
pub(crate) struct Metrics(String);

impl Metrics {
    /// The sum of the series whose line begins so.
    pub(crate) fn sum(&self, series: &str) -> f64 {
        let values = self.0.lines().filter(|line| line.starts_with(series));
        values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}
