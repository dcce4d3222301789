//! Listeners to broadcasts and events.

use std::sync::Arc;

use async_trait::async_trait;
use contract::events::{Event, SaleBroadcast};
use lapin::Channel;
use lapin::options::{BasicAckOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::consumer::consume;
use super::inbox::Inbox;
use super::link::{Live, close_channel, within};
use super::log::LogStart;
use super::options::SETUP_MS_MAX;
use super::plan::{Arguments, LOG, Value, table};
use super::unreachable;
use crate::{Broadcasts, EventTap, QueueError, topology};

/// News a listener may lag behind before it counts as having missed some.
const NEWS_MAX: u16 = 1_024;
/// News the broker keeps for a listener beyond that; the oldest give way.
const NEWS_WAITING_MAX: i64 = 1_024;
/// How long a listener's queue stays when nobody consumes it any more, in milliseconds.
const QUEUE_STAYS_MS: i64 = 60_000;
/// What the names of listeners' queues begin with.
const OWN: &str = "seckill.listener";

/// A listener.
pub(super) struct Listener {
    channel: Option<Channel>,
    /// The queue that goes when the listener does.
    own: Option<String>,
    inbox: Arc<Inbox>,
    lost: CancellationToken,
    closing: CancellationToken,
}

impl Listener {
    /// Hears broadcasts from now on, from a queue of its own.
    ///
    /// Not an exclusive queue: RabbitMQ 4.2 and later keep one whose node has died, and refuse whatever is routed to it
    /// until the node is back. A quorum queue outlives its node, and nobody else knows this one's name.
    pub(super) async fn to_broadcasts(live: &Live, closing: CancellationToken) -> Result<Self, QueueError> {
        let own = own_name()?;
        match Self::consume_own(live, &own).await {
            Ok((channel, inbox)) => {
                Ok(Self { channel: Some(channel), own: Some(own), inbox, lost: live.lost.clone(), closing })
            }
            Err(error) => {
                // It may have been made, and the broker has probably closed its channel.
                if let Ok(channel) = live.channel().await {
                    remove(&channel, &own).await;
                }
                Err(error)
            }
        }
    }

    async fn consume_own(live: &Live, own: &str) -> Result<(Channel, Arc<Inbox>), QueueError> {
        let channel = live.channel().await.map_err(QueueError::Unreachable)?;
        let asked = async {
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(own.into(), durable, table(&short_lived())).await?;
            let options = QueueBindOptions::default();
            let (queue, exchange) = (own.into(), topology::BROADCAST.into());
            channel.queue_bind(queue, exchange, "".into(), options, FieldTable::default()).await
        };
        within(SETUP_MS_MAX, asked).await.map_err(QueueError::Unreachable)?;
        let inbox = consume(&channel, own, NEWS_MAX, FieldTable::default()).await?;
        Ok((channel, inbox))
    }

    /// Hears events from now on, from the log of them all.
    pub(super) async fn to_events(live: &Live, closing: CancellationToken) -> Result<Self, QueueError> {
        let channel = live.channel().await.map_err(QueueError::Unreachable)?;
        let inbox = consume(&channel, LOG, NEWS_MAX, LogStart::Next.as_arguments()).await?;
        Ok(Self { channel: Some(channel), own: None, inbox, lost: live.lost.clone(), closing })
    }

    /// The next piece of news; `None` when some may have been missed.
    async fn hear<T: DeserializeOwned>(&mut self) -> Result<Option<T>, QueueError> {
        loop {
            // The broker lets news go only after it has sent as much as it may.
            let missed = self.inbox.ahead() >= u64::from(NEWS_MAX);
            let most = if missed { usize::MAX } else { 1 };
            let taken = tokio::select! {
                biased;
                () = self.closing.cancelled() => return Err(QueueError::Closed),
                () = self.lost.cancelled() => {
                    return Err(QueueError::Unreachable("the connection was lost".into()));
                }
                taken = self.inbox.take(most) => taken?,
            };
            let Some(last) = taken.last() else { continue };
            let channel = self.channel.as_ref().ok_or(QueueError::Closed)?;
            let through = BasicAckOptions { multiple: true };
            channel.basic_ack(last.tag, through).await.map_err(|e| unreachable(&e))?;
            self.inbox.done(taken.len());
            if missed {
                return Ok(None);
            }
            match serde_json::from_slice(&last.body) {
                Ok(news) => return Ok(Some(news)),
                Err(error) => tracing::error!(%error, "news that cannot be read is passed over"),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let (Some(channel), own) = (self.channel.take(), self.own.take()) else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                match own {
                    Some(own) => remove(&channel, &own).await,
                    None => close_channel(&channel).await,
                }
            });
        }
    }
}

/// Deletes a listener's queue, and closes the channel. What stays expires.
async fn remove(channel: &Channel, own: &str) {
    let _ = within(SETUP_MS_MAX, channel.queue_delete(own.into(), QueueDeleteOptions::default())).await;
    close_channel(channel).await;
}

/// A queue's name that nobody else has.
fn own_name() -> Result<String, QueueError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| QueueError::Unreachable(format!("no random numbers: {e}")))?;
    Ok(format!("{OWN}.{:032x}", u128::from_be_bytes(random)))
}

fn short_lived() -> Arguments {
    vec![
        ("x-queue-type", Value::Text("quorum")),
        ("x-expires", Value::Number(QUEUE_STAYS_MS)),
        ("x-max-length", Value::Number(NEWS_WAITING_MAX)),
        ("x-overflow", Value::Text("drop-head")),
    ]
}

#[async_trait]
impl Broadcasts for Listener {
    async fn next(&mut self) -> Result<Option<SaleBroadcast>, QueueError> {
        self.hear().await
    }
}

#[async_trait]
impl EventTap for Listener {
    async fn next(&mut self) -> Result<Option<Arc<Event>>, QueueError> {
        Ok(self.hear().await?.map(Arc::new))
    }
}
