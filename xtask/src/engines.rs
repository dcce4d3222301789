//! Private engines: Redis, RabbitMQ and Postgres on free ports, with data in a temporary folder.
//!
//! Nothing they do touches what else runs on this machine: no standard port, no shared name, no file
//! outside their folder. They go when their owner goes; see [`crate::process`].

mod certificate;
mod find;
pub(crate) mod high_availability;
mod install;
pub(crate) mod postgres;
pub(crate) mod rabbitmq;
pub(crate) mod redis;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::time::Duration;

use crate::process::Home;
use crate::run::Outcome;
use crate::server::Server;
use certificate::Certificate;
use high_availability::HighAvailability;
use postgres::Postgres;
use rabbitmq::RabbitMq;
use redis::Redis;

/// How long an engine may take to answer after its start, on a busy machine.
const START_S_MAX: Duration = Duration::from_secs(120);

/// How much the engines' data must survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// For tests that end with their servers: Postgres does not wait for the disk.
    Relaxed,
    /// As in earnest, for faults and figures.
    Full,
}

/// One engine of each kind.
pub(crate) struct Engines {
    pub(crate) redis: Redis,
    pub(crate) rabbitmq: RabbitMq,
    pub(crate) postgres: Postgres,
    /// More nodes, where there are.
    pub(crate) more: Option<HighAvailability>,
    /// What they show to clients, where those are to speak TLS to them.
    pub(crate) certificate: Option<Certificate>,
    // Last: the folder goes after those who write to it.
    home: Home,
}

impl Engines {
    /// Starts one of each, at once, and waits until all answer. What is not on this machine is installed.
    pub(crate) fn start(durability: Durability) -> Outcome<Self> {
        Self::start_with(durability, "", false)
    }

    /// The same with more parameters of the broker (Erlang terms), and all of them ready for TLS if they are to
    /// be `encrypted`.
    pub(crate) fn start_with(durability: Durability, rabbitmq: &str, encrypted: bool) -> Outcome<Self> {
        let binaries = find::binaries()?;
        let home = Home::new()?;
        let certificate =
            if encrypted { Some(Certificate::draw(&home.folder("certificate")?)?) } else { None };
        let shown = certificate.as_ref();
        let mut engines = Self {
            redis: Redis::new(&binaries.redis, &home.folder("redis")?, shown)?,
            rabbitmq: RabbitMq::new(&binaries.rabbitmq, &home.folder("rabbitmq")?, rabbitmq, shown)?,
            postgres: Postgres::new(&binaries.postgres, &home.folder("postgres")?, durability, shown)?,
            more: None,
            certificate,
            home,
        };
        engines.redis.server.start()?;
        engines.rabbitmq.start()?;
        // Making its folder takes a while, in which the others come up.
        engines.postgres.make()?;
        engines.postgres.server.start()?;
        engines.ready()?;
        Ok(engines)
    }

    /// With a replica and three sentinels of Redis, and three nodes of RabbitMQ.
    pub(crate) fn start_highly_available(durability: Durability, rabbitmq: &str) -> Outcome<Self> {
        let mut engines = Self::start_with(durability, rabbitmq, false)?;
        engines.more = Some(HighAvailability::beside(&engines, rabbitmq)?);
        Ok(engines)
    }

    /// Waits until all of them answer.
    pub(crate) fn ready(&mut self) -> Outcome {
        self.redis.server.ready(START_S_MAX)?;
        self.postgres.server.ready(START_S_MAX)?;
        self.rabbitmq.server.ready(START_S_MAX)?;
        self.more.as_mut().map_or(Ok(()), HighAvailability::ready)
    }

    /// Where clients find the stock store: by way of another port of this machine, if one is given.
    pub(crate) fn stock_url(&self, by: Option<u16>) -> String {
        match (by, &self.more) {
            (None, Some(more)) => more.stock_url(),
            (by, _) => {
                let protocol = if self.certificate.is_some() { "rediss" } else { "redis" };
                format!("{protocol}://127.0.0.1:{}", by.unwrap_or(self.redis.clients_port))
            }
        }
    }

    /// Where clients find the broker: by way of another port of this machine, if one is given.
    pub(crate) fn queue_url(&self, by: Option<u16>) -> String {
        match (by, &self.more) {
            (None, Some(more)) => more.queue_url(&self.rabbitmq),
            (by, _) => {
                let protocol = if self.certificate.is_some() { "amqps" } else { "amqp" };
                rabbitmq::url(protocol, &[by.unwrap_or(self.rabbitmq.clients_port)])
            }
        }
    }

    /// Where clients find this database: by way of another port of this machine, if one is given.
    pub(crate) fn database_url(&self, by: Option<u16>, database: &str) -> String {
        let url = self.postgres.url_by(by.unwrap_or(self.postgres.port), database);
        if self.certificate.is_some() { format!("{url}?sslmode=verify-full") } else { url }
    }

    /// Every server of theirs, for its log.
    pub(crate) fn servers(&self) -> Vec<&Server> {
        let mut all = vec![&self.redis.server, &self.rabbitmq.server, &self.postgres.server];
        all.extend(self.more.iter().flat_map(HighAvailability::servers));
        all
    }

    /// The folder that holds their data, for files that should go with them.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// What tests of adapters read.
    pub(crate) fn test_variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("TEST_REDIS_URL", self.stock_url(None)),
            ("TEST_REDIS_SERVER", self.redis.program().display().to_string()),
            ("TEST_AMQP_URL", self.rabbitmq.url()),
            ("TEST_RABBITMQ_API", self.rabbitmq.api_url()),
            ("TEST_RABBITMQCTL", self.rabbitmq.ctl().display().to_string()),
            ("TEST_POSTGRES_URL", self.postgres.url("postgres")),
        ]
    }
}

/// Starts one of each for people, who stop them by Ctrl-C.
pub(crate) fn show(highly_available: bool) -> Outcome {
    let engines = match highly_available {
        true => Engines::start_highly_available(Durability::Relaxed, "")?,
        false => Engines::start(Durability::Relaxed)?,
    };
    for (name, value) in engines.test_variables() {
        println!("export {name}='{value}'");
    }
    println!("# stock store {}, broker {}", engines.stock_url(None), engines.queue_url(None));
    println!("# Running, with data in {}, until Ctrl-C.", engines.home().path().display());
    loop {
        std::thread::park();
    }
}

/// A secret of so many bytes, as hex digits.
pub(crate) fn draw_hex(bytes: usize) -> Outcome<String> {
    let mut drawn = vec![0; bytes];
    let mut source = File::open("/dev/urandom").map_err(|e| format!("/dev/urandom: {e}"))?;
    source.read_exact(&mut drawn).map_err(|e| format!("/dev/urandom: {e}"))?;
    let mut text = String::new();
    for byte in drawn {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
