//! Opening, closing and publishing: what the three ports of the embedded broker share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contract::events::{Event, SaleBroadcast};
use domain::Clock;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::consumer::{Access, QueueConsumer};
use super::group::Operation;
use super::options::EmbeddedOptions;
use super::ownership::Ownership;
use super::queue::Queue;
use super::reader::Reader;
use super::routes::{Routes, Targets, declared};
use super::shared::Shared;
use super::store::{Store, unreachable_for};
use super::writer::Writer;
use crate::topology::{Cause, MESSAGE_BYTES_MAX};
use crate::{Consumer, PublishError, QueueError, Subscription};

/// Operations that wait for the writer.
const OPERATIONS_MAX: usize = 4_096;
/// Broadcasts a listener may lag behind before it misses some; the same for taps.
const NEWS_MAX: usize = 1_024;

/// The order queue, the event bus and the dead letters in one SQLite file. It is one object behind all
/// three ports. Dropping it without [`close`](Self::close) loses nothing that was confirmed.
pub struct EmbeddedBroker {
    pub(super) shared: Arc<Shared>,
    pub(super) routes: Routes,
    pub(super) news: broadcast::Sender<SaleBroadcast>,
    pub(super) events: broadcast::Sender<Arc<Event>>,
    operations: mpsc::Sender<Operation>,
    publish_wait: Duration,
    writer: Mutex<Option<JoinHandle<Result<(), QueueError>>>>,
}

impl EmbeddedBroker {
    /// Opens the broker on the file at `path`, which is made if it is not there, and starts its writer.
    ///
    /// # Errors
    /// [`QueueError::Unreachable`] when the file cannot be used, [`QueueError::Refused`] when it belongs to a
    /// running broker or holds messages in another number of lanes.
    pub async fn open(
        path: &Path,
        options: EmbeddedOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, QueueError> {
        let ownership = Ownership::take(path, options.owner_wait_ms_max).await?;
        let mut store = Store::new(path);
        store.open().await.map_err(|e| QueueError::Unreachable(format!("{}: {e}", path.display())))?;
        let (names, rules): (Vec<_>, Vec<_>) = declared(options.lanes, &options.limits).into_iter().unzip();
        let found = store.load(options.lanes, &names).await?;
        let queues = names.into_iter().zip(rules).zip(found).map(|((name, rules), f)| {
            Arc::new(Queue::new(f.number, name, rules, f.first - 1, f.last, f.ready))
        });
        let shared = Arc::new(Shared {
            queues: queues.collect(),
            reader: Reader::new(path),
            clock,
            letters: Mutex::default(),
            closing: CancellationToken::new(),
        });
        for cause in Cause::ALL {
            let count = store.letters(cause).await.map_err(|e| unreachable_for(&e))?;
            shared.letters.lock().insert(cause, count);
        }
        let (operations, waiting) = mpsc::channel(OPERATIONS_MAX);
        let publish_wait = Duration::from_millis(options.publish_wait_ms_max);
        let routes = Routes::new(options.lanes);
        let writer = Writer::new(waiting, Arc::clone(&shared), store, options, ownership);
        let writer = Mutex::new(Some(tokio::spawn(writer.run())));
        let (news, events) = (broadcast::Sender::new(NEWS_MAX), broadcast::Sender::new(NEWS_MAX));
        Ok(Arc::new(Self { shared, routes, news, events, operations, publish_wait, writer }))
    }

    /// Commits what waits, folds the log into the database and lets go of the file. Consumers and
    /// publishers are told that the broker is closed. A second call does nothing.
    ///
    /// # Errors
    /// [`QueueError::Unreachable`] when the storage failed at the last moment.
    pub async fn close(&self) -> Result<(), QueueError> {
        let Some(writer) = self.writer.lock().take() else { return Ok(()) };
        self.shared.closing.cancel();
        for queue in &self.shared.queues {
            queue.close();
        }
        // If the writer is gone already, its outcome below says why.
        let _ = self.operations.send(Operation::Close).await;
        writer.await.map_err(|e| QueueError::Unreachable(e.to_string()))?
    }

    /// Takes away the bindings of a subscription until the next opening, as an operator's slip would:
    /// for fault runs.
    pub fn unbind(&self, subscription: Subscription) {
        if let Some(place) = self.routes.subscription(subscription) {
            self.routes.unbind(place);
        }
    }

    /// Takes away the binding of a lane, as [`unbind`](Self::unbind).
    pub fn unbind_lane(&self, lane: u16) {
        if let Some(place) = self.routes.lane(lane) {
            self.routes.unbind(place);
        }
    }

    /// Puts a message into queues; done when it is safe. `what` names it in errors.
    pub(super) async fn put<T: Serialize>(
        &self,
        to: Targets,
        message: &T,
        what: &str,
    ) -> Result<(), PublishError> {
        if to.is_empty() {
            return Err(PublishError::Unroutable(what.to_owned()));
        }
        let body = serde_json::to_vec(message).map_err(|e| PublishError::Unconfirmed(e.to_string()))?;
        if body.len() > MESSAGE_BYTES_MAX {
            let why = format!("{what} is longer than {MESSAGE_BYTES_MAX} bytes");
            return Err(PublishError::Unconfirmed(why));
        }
        let (confirm, confirmed) = oneshot::channel();
        let wait = async {
            let publish = Operation::Publish { to, body, confirm };
            let sent = self.operations.send(publish).await;
            sent.map_err(|_| PublishError::Unconfirmed(QueueError::Closed.to_string()))?;
            confirmed.await.unwrap_or_else(|_| Err(PublishError::Unconfirmed(QueueError::Closed.to_string())))
        };
        tokio::time::timeout(self.publish_wait, wait).await.unwrap_or_else(|_| {
            Err(PublishError::Unconfirmed(format!("not within {} ms", self.publish_wait.as_millis())))
        })
    }

    /// A consumer of the queue at `place`.
    pub(super) async fn consumer(&self, place: usize) -> Result<Box<dyn Consumer>, QueueError> {
        let access = Access { shared: Arc::clone(&self.shared), operations: self.operations.clone(), place };
        Ok(Box::new(QueueConsumer::attach(access).await?))
    }

    /// Asks the writer to put a dead letter back.
    pub(super) async fn put_back(&self, letter: i64) -> Result<(), QueueError> {
        let (done, replayed) = oneshot::channel();
        self.operations.send(Operation::Replay { letter, done }).await.map_err(|_| QueueError::Closed)?;
        replayed.await.map_err(|_| QueueError::Closed)?
    }
}
