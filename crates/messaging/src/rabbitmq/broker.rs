//! Opening and closing, and what the three ports share.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::address::Addresses;
use super::consumer::RabbitConsumer;
use super::link::{Link, Live, Purpose, State};
use super::options::RabbitOptions;
use super::plan::Plan;
use super::publisher::Publisher;
use super::stats::Stats;
use super::target::Target;
use crate::topology::MESSAGE_BYTES_MAX;
use crate::{Consumer, PublishError, QueueError};

/// How long the parting may take beyond the last confirms, in milliseconds.
const PARTING_MS_MAX: u64 = 3_000;

/// The order queue, the event bus and the dead letters on RabbitMQ. It is one object behind all three
/// ports, connected or not: [`readiness`](Self::readiness) tells.
pub struct RabbitBroker {
    pub(super) options: RabbitOptions,
    pub(super) stats: Arc<Stats>,
    pub(super) closing: CancellationToken,
    /// Held by whoever looks at dead letters.
    pub(super) reading: Arc<tokio::sync::Mutex<()>>,
    publisher: Arc<Publisher>,
    publishing: Link,
    consuming: Arc<Link>,
    publishes_no_more: CancellationToken,
    tasks: Mutex<Option<Tasks>>,
}

struct Tasks {
    publisher: JoinHandle<()>,
    links: [JoinHandle<()>; 2],
}

impl RabbitBroker {
    /// Starts connecting to the broker, and keeps connecting whenever it is lost.
    #[must_use]
    pub fn start(addresses: &Addresses, options: RabbitOptions) -> Arc<Self> {
        let plan = Arc::new(Plan::new(options.lanes, &options.limits));
        let (closing, publishes_no_more) = (CancellationToken::new(), CancellationToken::new());
        let link = |purpose| Link::start(addresses.clone(), purpose, Arc::clone(&plan), closing.clone());
        let (publishing, publishing_task) = link(Purpose::Publish);
        let (consuming, consuming_task) = link(Purpose::Consume);
        let consuming = Arc::new(consuming);
        let stats = Arc::new(Stats::new(Arc::clone(&consuming)));
        let (publisher, publisher_task) =
            Publisher::start(&publishing, Arc::clone(&stats), &options, publishes_no_more.clone());
        let tasks = Tasks { publisher: publisher_task, links: [publishing_task, consuming_task] };
        Arc::new(Self {
            options,
            stats,
            closing,
            reading: Arc::default(),
            publisher: Arc::new(publisher),
            publishing,
            consuming,
            publishes_no_more,
            tasks: Mutex::new(Some(tasks)),
        })
    }

    /// Whether messages can be published and consumed right now; if not, why.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn readiness(&self) -> Result<(), String> {
        let publishing = self.publishing.live().map_err(|why| format!("RabbitMQ, publishing: {why}"))?;
        self.consuming.live().map_err(|why| format!("RabbitMQ, consuming: {why}"))?;
        match publishing.blocked() {
            Some(why) => Err(format!("RabbitMQ takes no messages: {why}")),
            None => Ok(()),
        }
    }

    /// Waits until both connections are there.
    pub async fn connected(&self) {
        for link in [&self.publishing, &*self.consuming] {
            let mut watched = link.watch();
            // It ends only after a close, and then there is nothing to wait for.
            let _ = watched.wait_for(|state| matches!(state, State::Up(_))).await;
        }
    }

    /// Settles what is under way, within the bound of a publish, and closes the connections. Consumers
    /// and publishers are told that the broker is closed. A second call does nothing.
    pub async fn close(&self) {
        let Some(tasks) = self.tasks.lock().take() else { return };
        let parting = Duration::from_millis(PARTING_MS_MAX);
        self.publishes_no_more.cancel();
        let _ = timeout(self.options.publish_wait + parting, tasks.publisher).await;
        self.closing.cancel();
        let [publishing, consuming] = tasks.links;
        let _ = timeout(parting, async { tokio::join!(publishing, consuming) }).await;
    }

    pub(super) fn live(&self) -> Result<Arc<Live>, QueueError> {
        if self.closing.is_cancelled() {
            return Err(QueueError::Closed);
        }
        self.consuming.live().map_err(QueueError::Unreachable)
    }

    pub(super) fn publisher(&self) -> Arc<Publisher> {
        Arc::clone(&self.publisher)
    }

    pub(super) async fn consumer(&self, queue: &str) -> Result<Box<dyn Consumer>, QueueError> {
        let live = self.live()?;
        let consumer =
            RabbitConsumer::open(&live, queue, self.options.prefetch, self.closing.clone()).await?;
        self.stats.count(queue, consumer.inbox());
        Ok(Box::new(consumer))
    }

    /// Publishes a message; done when it is safe. `id` is the same for every publish of the same
    /// intention.
    pub(super) async fn put<T: Serialize>(
        &self,
        target: Target,
        id: String,
        message: &T,
    ) -> Result<(), PublishError> {
        let body = serde_json::to_vec(message).map_err(|e| PublishError::Unconfirmed(e.to_string()))?;
        if body.len() > MESSAGE_BYTES_MAX {
            let what = target.name();
            return Err(PublishError::Unconfirmed(format!("{what}: longer than {MESSAGE_BYTES_MAX} bytes")));
        }
        self.publisher.put(target, id, body).await
    }
}

impl Drop for RabbitBroker {
    fn drop(&mut self) {
        self.publishes_no_more.cancel();
        self.closing.cancel();
    }
}
