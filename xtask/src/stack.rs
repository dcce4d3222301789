//! The platform as it runs in earnest, on this machine alone: every service a process of its own, several of
//! each if wanted, on private engines.

mod service;
mod show;
mod wires;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engines::{Durability, Engines, draw_hex};
use crate::http::is_fine;
use crate::proxy::Proxy;
use crate::run::{Outcome, release, wait_for};
use crate::subject::{Subject, common_settings};
pub(crate) use service::{Role, Service};
pub(crate) use show::{Options, run};
pub(crate) use wires::{Engine, Wires};

/// How long services may take to become ready, engines included that are just coming back.
const READY_S_MAX: Duration = Duration::from_secs(120);
/// The database of the whole platform.
const DATABASE: &str = "seckill";

/// How many of each service, and what is special about them.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Gateways.
    pub(crate) gateways: usize,
    /// Inventories.
    pub(crate) inventories: usize,
    /// Order services.
    pub(crate) orders: usize,
    /// Notifies.
    pub(crate) notifies: usize,
    /// Settings of every service.
    pub(crate) settings: Vec<(String, String)>,
    /// Whether services reach their engines by proxies, so that the network can be broken.
    pub(crate) proxied: bool,
    /// More parameters of the broker (Erlang terms, `{name, value}, …`).
    pub(crate) rabbitmq: String,
    /// Whether Redis has a replica and sentinels, and RabbitMQ three nodes.
    pub(crate) highly_available: bool,
    /// Whether services speak TLS to their engines; not together with the one above.
    pub(crate) encrypted: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            gateways: 1,
            inventories: 1,
            orders: 1,
            notifies: 1,
            settings: Vec::new(),
            proxied: false,
            rabbitmq: String::new(),
            highly_available: false,
            encrypted: false,
        }
    }
}

/// The running platform.
pub(crate) struct Stack {
    pub(crate) services: Vec<Service>,
    /// The ways from services to engines, where they are proxied.
    pub(crate) wires: Option<Wires>,
    public: Door,
    admin: Door,
    // Balancers between services; they only have to live.
    _inner: Vec<Door>,
    // Last: services go before their engines.
    pub(crate) engines: Engines,
}

/// A port that leads to one service, or to several in turns.
enum Door {
    Direct(u16),
    Balanced(Proxy),
}

impl Door {
    fn to(ports: &[u16]) -> Outcome<Self> {
        match ports {
            [one] => Ok(Self::Direct(*one)),
            several => Ok(Self::Balanced(Proxy::to(several)?)),
        }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Direct(port) => *port,
            Self::Balanced(proxy) => proxy.port(),
        }
    }
}

impl Stack {
    /// Starts engines and lays everything out; the services are not started yet.
    pub(crate) fn new(shape: &Shape, durability: Durability) -> Outcome<Self> {
        let binaries = release()?;
        let engines = match shape.highly_available {
            true if shape.encrypted => {
                return Err("the replica, sentinels and cluster speak no TLS here".into());
            }
            true => Engines::start_highly_available(durability, &shape.rabbitmq)?,
            false => Engines::start_with(durability, &shape.rabbitmq, shape.encrypted)?,
        };
        engines.postgres.sql("postgres", &format!("create database {DATABASE}"))?;
        Self::on(engines, &binaries, shape)
    }

    fn on(engines: Engines, binaries: &Path, shape: &Shape) -> Outcome<Self> {
        let wires = if shape.proxied { Some(Wires::lay(&engines)?) } else { None };
        let numbers = [
            (Role::Inventory, shape.inventories),
            (Role::Order, shape.orders),
            (Role::Notify, shape.notifies),
            (Role::Gateway, shape.gateways),
        ];
        let mut services = Vec::new();
        for (role, number) in numbers {
            for n in 1..=number {
                services.push(Service::new(role, n, binaries, &engines.home().folder("services")?)?);
            }
        }
        let ports = |role: Role, which: fn(&Service) -> u16| -> Vec<u16> {
            services.iter().filter(|s| s.role == role).map(which).collect()
        };
        let public = Door::to(&ports(Role::Gateway, |s| s.port))?;
        let admin = Door::to(&ports(Role::Gateway, |s| s.admin_port))?;
        let inner =
            [Role::Inventory, Role::Order, Role::Notify].map(|role| Door::to(&ports(role, |s| s.port)));
        let inner = inner.into_iter().collect::<Outcome<Vec<_>>>()?;
        let url = |door: &Door| format!("http://127.0.0.1:{}", door.port());
        let mut settings = common_settings();
        settings.extend(
            [
                ("SECKILL_INVENTORY_URL", url(&inner[0])),
                ("SECKILL_ORDER_URL", url(&inner[1])),
                ("SECKILL_NOTIFY_URL", url(&inner[2])),
                ("SECKILL_INTERNAL_TOKEN", draw_hex(24)?),
                ("SECKILL_SANDBOX_WEBHOOK_URL", format!("{}/api/v1/payments/webhook", url(&public))),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        if let Some(certificate) = &engines.certificate {
            let file = certificate.certificate.display().to_string();
            settings.push(("SSL_CERT_FILE".into(), file));
        }
        settings.extend(shape.settings.iter().cloned());
        for service in &mut services {
            settings.iter().for_each(|(name, value)| service.set(name, value));
            for (name, value) in wires::engine_urls(service.role, &engines, wires.as_ref(), DATABASE) {
                service.set(name, &value);
            }
        }
        Ok(Self { services, wires, public, admin, _inner: inner, engines })
    }

    /// The services of this role.
    pub(crate) fn of(&mut self, role: Role) -> impl Iterator<Item = &mut Service> {
        self.services.iter_mut().filter(move |service| service.role == role)
    }

    /// One sum over the `/metrics` of every service of this role: of the series whose line begins so.
    pub(crate) fn metric(&self, role: Role, series: &str) -> f64 {
        // The sum of nothing is -0.
        self.services.iter().filter(|s| s.role == role).map(|s| s.metric(series)).sum::<f64>() + 0.0
    }

    /// Copies every log into this folder.
    pub(crate) fn keep_logs(&self, folder: &Path) -> Outcome {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for server in self.services.iter().map(|s| &s.server).chain(self.engines.servers()) {
            let to: PathBuf = folder.join(format!("{}.log", server.name()));
            std::fs::copy(server.log(), &to).map_err(|e| format!("{}: {e}", to.display()))?;
        }
        Ok(())
    }
}

impl Subject for Stack {
    fn port(&self) -> u16 {
        self.public.port()
    }

    fn admin_port(&self) -> u16 {
        self.admin.port()
    }

    fn buyers_ports(&self) -> Vec<u16> {
        self.services.iter().filter(|s| s.role == Role::Gateway).map(|s| s.port).collect()
    }

    fn set(&mut self, name: &str, value: &str) {
        self.services.iter_mut().for_each(|service| service.set(name, value));
    }

    fn start(&mut self) -> Outcome {
        self.services.iter_mut().try_for_each(|service| service.server.start())
    }

    fn ready(&mut self) -> Outcome<Duration> {
        let mut longest = Duration::ZERO;
        for service in &mut self.services {
            longest += service.server.ready(READY_S_MAX)?;
        }
        // Their balancers lead to them only now.
        let admin = self.admin.port();
        wait_for("the gateways' door", READY_S_MAX, || is_fine(admin, "/readyz"))?;
        Ok(longest)
    }

    fn kill(&mut self) {
        // All at once: signals first, then the reaping.
        for service in &self.services {
            let _ = service.server.tell_family(crate::process::Signal::KILL);
        }
        self.services.iter_mut().for_each(|service| service.server.kill());
    }
}
