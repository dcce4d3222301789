//! The messaging ports: a durable queue of order lanes, and a bus of events.

use async_trait::async_trait;
use contract::api::{DeadLetter, QueueInfo};
use contract::events::{Channel, Event, Notice, SaleBroadcast};
use contract::lane::LaneMessage;

/// Why a message is not known to be safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The queue is full and refused the message, or the broker takes none for want of memory or disk.
    /// It is not in the queue.
    #[error("the queue is full")]
    Full,
    /// No queue takes messages of this kind. It is not in any queue.
    #[error("no queue is bound for {0}")]
    Unroutable(String),
    /// No confirm came within the bound, or there is no broker to give one. The message may or may not
    /// be in the queue: publish it again under the same id.
    #[error("no confirm came in time: {0}")]
    Unconfirmed(String),
}

/// Why the broker cannot be worked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The broker or its storage cannot be reached.
    #[error("the broker cannot be reached: {0}")]
    Unreachable(String),
    /// It does not do this now; the reason says what must change.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// Nothing there has this name or id.
    #[error("there is no {0}")]
    Unknown(String),
    /// The broker is shutting down.
    #[error("the broker is closed")]
    Closed,
}

/// One message handed to a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Names it towards this consumer; rises with every delivery.
    pub tag: u64,
    /// How often it was delivered before without being acknowledged. A hint: a broker that sends
    /// messages ahead counts those it sent to a consumer that never came to take them.
    pub redelivered: u32,
    /// The message's JSON.
    pub body: Vec<u8>,
}

/// A consumer of one queue. It owns what was delivered to it until it acknowledges; dropping it, or
/// losing it, gives that back for redelivery.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for a message, then takes what is there, `max` at most, in queue order. An empty batch
    /// never comes. Cancelling the wait loses nothing.
    async fn next_batch(&mut self, max: usize) -> Result<Vec<Delivery>, QueueError>;

    /// Done with every delivery up to and including `tag`.
    async fn ack_through(&mut self, tag: u64) -> Result<(), QueueError>;

    /// Done with these deliveries alone, in whatever order they are named: what lies before them stays with the
    /// consumer. A broker may have to be told of each by itself, so this is for what
    /// [`ack_through`](Self::ack_through) cannot reach. If one of them is not held, none is acknowledged.
    async fn ack_each(&mut self, tags: &[u64]) -> Result<(), QueueError>;

    /// Cannot be processed, ever: to the dead letters, cause *rejected*.
    async fn reject(&mut self, tag: u64) -> Result<(), QueueError>;

    /// Not now: back to the queue, to be delivered again: before what was not sent to anyone yet, after
    /// what this consumer has been sent ahead.
    async fn requeue(&mut self, tag: u64) -> Result<(), QueueError>;

    /// Stops consuming. What is not acknowledged goes back.
    async fn close(self: Box<Self>) -> Result<(), QueueError>;
}

/// The order queue: lanes of orders, fences and barriers.
#[async_trait]
pub trait OrderQueue: Send + Sync {
    /// How many lanes there are.
    fn lanes(&self) -> u16;

    /// Puts the message into its sale's lane. Done only when it is safe: on disk, synced (embedded),
    /// or confirmed by the broker.
    async fn publish(&self, message: &LaneMessage) -> Result<(), PublishError>;

    /// Whether messages can be published right now, as far as this process knows; asks nobody.
    ///
    /// # Errors
    /// Why not: there is no connection, or the broker takes nothing.
    fn takes(&self) -> Result<(), QueueError>;

    /// A consumer of the lane. One at a time is active; the others wait for their turn, here or in
    /// their first [`next_batch`](Consumer::next_batch).
    async fn consume(&self, lane: u16) -> Result<Box<dyn Consumer>, QueueError>;

    /// The lanes' depths and consumers. A broker shared by several processes may not tell of consumers
    /// that wait for their turn, nor what consumers of other processes hold: in flight is at least what
    /// this process holds.
    async fn lane_stats(&self) -> Result<Vec<QueueInfo>, QueueError>;
}

/// The durable subscriptions of the event bus: each is one queue, shared by all replicas of a service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Subscription {
    /// Inventory: settles and releases by `order.*`, rebuilds by `ledger.*`.
    Inventory,
    /// Notify: writes notices by `order.*`.
    Notify,
    /// Deliverers of one notice channel.
    Notices(Channel),
}

/// The event bus.
#[async_trait]
pub trait EventBus: Send + Sync {
    /// Publishes to every subscription whose pattern matches; done when safe in all of them.
    async fn publish(&self, event: &Event) -> Result<(), PublishError>;

    /// Publishes a notice to its channel's queue; done when safe.
    async fn publish_notice(&self, notice: &Notice) -> Result<(), PublishError>;

    /// Consumes a subscription. Replicas share the work.
    async fn consume(&self, subscription: Subscription) -> Result<Box<dyn Consumer>, QueueError>;

    /// Tells every gateway; best effort, transient.
    async fn broadcast(&self, news: &SaleBroadcast) -> Result<(), PublishError>;

    /// Hears broadcasts from now on.
    async fn broadcasts(&self) -> Result<Box<dyn Broadcasts>, QueueError>;

    /// Hears events from now on; transient and lossy, for those who only want to be woken.
    async fn tap(&self) -> Result<Box<dyn EventTap>, QueueError>;
}

/// A listener to broadcasts.
#[async_trait]
pub trait Broadcasts: Send {
    /// The next broadcast; `None` when some were missed and the listener should read all afresh.
    async fn next(&mut self) -> Result<Option<SaleBroadcast>, QueueError>;
}

/// A listener to events that may miss some.
#[async_trait]
pub trait EventTap: Send {
    /// The next event; `None` when some were missed.
    async fn next(&mut self) -> Result<Option<std::sync::Arc<Event>>, QueueError>;
}

/// The messages nobody could process, one queue a cause.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// The oldest dead letters, `limit` at most.
    async fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// Puts a dead letter back into the queue it died in, and then takes it out of the dead letters. If
    /// it cannot be put back, nothing changes; if this is cut short, it may be in both.
    async fn replay(&self, id: &str) -> Result<(), QueueError>;

    /// Depth of every dead-letter queue.
    async fn stats(&self) -> Result<Vec<QueueInfo>, QueueError>;

    /// Depth of every other queue but the lanes.
    async fn other_stats(&self) -> Result<Vec<QueueInfo>, QueueError>;
}
