//! Listeners to broadcasts and events: a queue of their own, gone when they are gone.

use std::sync::Arc;

use async_trait::async_trait;
use contract::events::{Event, SaleBroadcast};
use lapin::Channel;
use lapin::options::{BasicAckOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::consumer::consume;
use super::inbox::Inbox;
use super::link::{Live, farewell, within};
use super::unreachable;
use crate::{Broadcasts, EventTap, QueueError};

/// News a listener may lag behind before it counts as having missed some.
const NEWS_MAX: u16 = 1_024;
/// News the broker keeps for a listener beyond that; the oldest give way.
const NEWS_WAITING_MAX: i64 = 1_024;
/// How long the broker may take to make the queue, in milliseconds.
const ANSWER_MS_MAX: u64 = 5_000;

/// A listener to what one exchange carries.
pub(super) struct Listener {
    channel: Option<Channel>,
    inbox: Arc<Inbox>,
    lost: CancellationToken,
    closing: CancellationToken,
}

impl Listener {
    /// Hears what `exchange` carries under `key`, from now on.
    pub(super) async fn open(
        live: &Live,
        exchange: &str,
        key: &str,
        closing: CancellationToken,
    ) -> Result<Self, QueueError> {
        let channel = live.channel().await.map_err(QueueError::Unreachable)?;
        let asked = async {
            let own =
                QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
            let mut arguments = FieldTable::default();
            arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(NEWS_WAITING_MAX));
            let queue = channel.queue_declare("".into(), own, arguments).await?;
            let name = queue.name().clone();
            let options = QueueBindOptions::default();
            channel
                .queue_bind(name.clone(), exchange.into(), key.into(), options, FieldTable::default())
                .await?;
            Ok(name)
        };
        let queue = within(ANSWER_MS_MAX, asked).await.map_err(QueueError::Unreachable)?;
        let inbox = consume(&channel, queue.as_str(), NEWS_MAX).await?;
        Ok(Self { channel: Some(channel), inbox, lost: live.lost.clone(), closing })
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
        let Some(channel) = self.channel.take() else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { farewell(&channel).await });
        }
    }
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
