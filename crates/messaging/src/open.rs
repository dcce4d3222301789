//! Opening the broker that a URL names. Its scheme picks the adapter; there is no silent fallback.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;

use crate::embedded::{EmbeddedBroker, EmbeddedOptions};
use crate::rabbitmq::{AddressError, Addresses, EventLog, LogStart, RabbitBroker, RabbitOptions};
use crate::topology::Limits;
use crate::{DeadLetters, EventBus, OrderQueue, QueueError};

/// The embedded broker's file in the data folder.
const FILE: &str = "queue.db";

/// Why a broker does not open. Shows the URL's scheme at most: what follows holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No adapter has the scheme.
    #[error("SECKILL_QUEUE_URL: no adapter has the scheme {0:?} (expected embedded: or amqp:)")]
    Scheme(String),
    /// The URL cannot be read.
    #[error("SECKILL_QUEUE_URL: {0}")]
    Address(#[from] AddressError),
    /// The embedded broker keeps no log of events.
    #[error("SECKILL_QUEUE_URL: the embedded broker keeps no log of events, RabbitMQ does")]
    NoLog,
    /// The broker cannot be worked with.
    #[error("the order queue does not open: {0}")]
    Broker(#[from] QueueError),
}

/// What a broker can be told at its opening; each adapter takes what concerns it.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// How many lanes there are. All services must agree.
    pub lanes: u16,
    /// The limits of the queues.
    pub limits: Limits,
    /// How long a publisher waits for its confirm.
    pub publish_wait: Duration,
    /// The embedded broker's folder.
    pub data_dir: PathBuf,
    /// RabbitMQ: publishes under way at once. One is stop-and-wait.
    pub confirm_window: usize,
    /// RabbitMQ: messages a consumer is sent ahead of its acknowledgements.
    pub prefetch: u16,
}

/// A broker behind its three ports.
#[derive(Clone)]
pub struct Broker {
    /// The order queue.
    pub queue: Arc<dyn OrderQueue>,
    /// The event bus.
    pub bus: Arc<dyn EventBus>,
    /// The dead letters.
    pub dead_letters: Arc<dyn DeadLetters>,
    adapter: Adapter,
}

#[derive(Clone)]
enum Adapter {
    Embedded(Arc<EmbeddedBroker>),
    Rabbit(Arc<RabbitBroker>),
}

impl Broker {
    /// Whether messages can be published and consumed right now; if not, why. The embedded broker
    /// always says yes: it would not have opened otherwise.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn readiness(&self) -> Result<(), String> {
        match &self.adapter {
            Adapter::Embedded(_) => Ok(()),
            Adapter::Rabbit(broker) => broker.readiness(),
        }
    }

    /// Waits until the broker can be worked with for the first time.
    pub async fn connected(&self) {
        if let Adapter::Rabbit(broker) = &self.adapter {
            broker.connected().await;
        }
    }

    /// Settles what is under way and lets go of the broker. A second call does nothing.
    ///
    /// # Errors
    /// [`QueueError::Unreachable`] when storage failed at the last moment.
    pub async fn close(&self) -> Result<(), QueueError> {
        match &self.adapter {
            Adapter::Embedded(broker) => broker.close().await,
            Adapter::Rabbit(broker) => {
                broker.close().await;
                Ok(())
            }
        }
    }
}

impl From<Arc<EmbeddedBroker>> for Broker {
    fn from(broker: Arc<EmbeddedBroker>) -> Self {
        Self {
            queue: broker.clone(),
            bus: broker.clone(),
            dead_letters: broker.clone(),
            adapter: Adapter::Embedded(broker),
        }
    }
}

impl From<Arc<RabbitBroker>> for Broker {
    fn from(broker: Arc<RabbitBroker>) -> Self {
        Self {
            queue: broker.clone(),
            bus: broker.clone(),
            dead_letters: broker.clone(),
            adapter: Adapter::Rabbit(broker),
        }
    }
}

/// Opens the broker of a URL: `embedded:`, or `amqp://user:password@host:port,…/vhost`, or `amqps://…`.
///
/// The embedded broker is open on return. RabbitMQ is being connected to: [`Broker::readiness`] says
/// how far it is, and a service can say so while it waits.
///
/// # Errors
/// [`OpenError`] when the URL names no broker, or the embedded one does not open.
pub async fn open(url: &str, options: OpenOptions, clock: Arc<dyn Clock>) -> Result<Broker, OpenError> {
    match scheme(url) {
        "embedded" => {
            let path = options.data_dir.join(FILE);
            let options = EmbeddedOptions {
                lanes: options.lanes,
                limits: options.limits,
                publish_wait_ms_max: millis(options.publish_wait),
                ..EmbeddedOptions::default()
            };
            Ok(EmbeddedBroker::open(&path, options, clock).await?.into())
        }
        "amqp" | "amqps" => {
            let addresses = Addresses::parse(url)?;
            let options = RabbitOptions {
                lanes: options.lanes,
                limits: options.limits,
                confirm_window: options.confirm_window,
                prefetch: options.prefetch,
                publish_wait: options.publish_wait,
            };
            Ok(RabbitBroker::start(&addresses, options).into())
        }
        other => Err(OpenError::Scheme(other.to_owned())),
    }
}

/// Opens the log of events of the broker of a URL, to be read from `start` on.
///
/// # Errors
/// [`OpenError`] when the URL names no broker, or one without a log, or none that answers.
pub async fn open_log(url: &str, start: LogStart) -> Result<EventLog, OpenError> {
    match scheme(url) {
        "embedded" => Err(OpenError::NoLog),
        "amqp" | "amqps" => Ok(EventLog::open(&Addresses::parse(url)?, start).await?),
        other => Err(OpenError::Scheme(other.to_owned())),
    }
}

fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    struct Standing;

    impl Clock for Standing {
        fn now(&self) -> domain::UnixMillis {
            domain::UnixMillis(0)
        }
    }

    fn options(data_dir: &Path) -> OpenOptions {
        OpenOptions {
            lanes: 3,
            limits: Limits::default(),
            publish_wait: Duration::from_secs(1),
            data_dir: data_dir.to_owned(),
            confirm_window: 1,
            prefetch: 1,
        }
    }

    async fn refused(url: &str) -> String {
        let opened = open(url, options(Path::new(".")), Arc::new(Standing)).await;
        opened.map(drop).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn an_unknown_scheme_names_the_setting_and_shows_nothing_else() {
        let told = refused("kafka://me:secret@host").await;
        assert!(told.contains("SECKILL_QUEUE_URL") && told.contains("\"kafka\""), "{told}");
        assert!(!told.contains("secret"), "{told}");
        assert!(refused("secret").await.contains("\"\""), "without a colon all of it may be secret");
        assert!(!refused("amqp://me:secret@host:x").await.contains("secret"));
        assert_eq!(open_log("embedded:", LogStart::First).await.map(drop), Err(OpenError::NoLog));
    }

    #[tokio::test]
    async fn the_embedded_broker_opens_in_the_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let broker = open("embedded:", options(folder.path()), Arc::new(Standing)).await.unwrap();
        assert_eq!((broker.readiness(), broker.queue.lanes()), (Ok(()), 3));
        broker.close().await.unwrap();
        assert!(folder.path().join(FILE).exists());
    }
}
