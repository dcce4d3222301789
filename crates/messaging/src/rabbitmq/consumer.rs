//! A consumer of one queue, on a channel of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::link::{Live, close_channel, within};
use super::options::SETUP_MS_MAX;
use super::unreachable;
use crate::{Consumer, Delivery, QueueError};

/// Consumes a queue on this channel; nothing but the consumer may use it.
pub(super) async fn consume(
    channel: &Channel,
    queue: &str,
    prefetch: u16,
    arguments: FieldTable,
) -> Result<Arc<Inbox>, QueueError> {
    let asked = async {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        channel.basic_consume(queue.into(), "".into(), options, arguments).await
    };
    let stream = within(SETUP_MS_MAX, asked).await.map_err(QueueError::Unreachable)?;
    Ok(Inbox::reading(stream))
}

/// A consumer. Dropping it closes its channel: that gives back what it holds, and lets the next
/// consumer of a lane begin only then.
pub(super) struct RabbitConsumer {
    channel: Option<Channel>,
    inbox: Arc<Inbox>,
    /// Tags taken and not settled, rising.
    held: VecDeque<u64>,
    lost: CancellationToken,
    closing: CancellationToken,
}

impl RabbitConsumer {
    pub(super) async fn open(
        live: &Live,
        queue: &str,
        prefetch: u16,
        closing: CancellationToken,
    ) -> Result<Self, QueueError> {
        let channel = live.channel().await.map_err(QueueError::Unreachable)?;
        let inbox = consume(&channel, queue, prefetch, FieldTable::default()).await?;
        let lost = live.lost.clone();
        Ok(Self { channel: Some(channel), inbox, held: VecDeque::new(), lost, closing })
    }

    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    fn channel(&self) -> Result<&Channel, QueueError> {
        self.is_there()?;
        self.channel.as_ref().ok_or(QueueError::Closed)
    }

    fn is_there(&self) -> Result<(), QueueError> {
        if self.closing.is_cancelled() {
            return Err(QueueError::Closed);
        }
        if self.lost.is_cancelled() {
            return Err(QueueError::Unreachable("the connection was lost".into()));
        }
        Ok(())
    }

    fn held_at(&self, tag: u64) -> Result<usize, QueueError> {
        self.held.binary_search(&tag).map_err(|_| QueueError::Unknown(format!("delivery {tag}")))
    }

    async fn give_back(&mut self, tag: u64, requeue: bool) -> Result<(), QueueError> {
        let at = self.held_at(tag)?;
        // Not a nack: from 4.3 on that does not count towards the delivery limit.
        let options = BasicRejectOptions { requeue };
        self.channel()?.basic_reject(tag, options).await.map_err(|e| unreachable(&e))?;
        self.held.remove(at);
        self.inbox.done(1);
        Ok(())
    }
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn next_batch(&mut self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        self.is_there()?;
        let batch = tokio::select! {
            biased;
            () = self.lost.cancelled() => return self.is_there().map(|()| Vec::new()),
            () = self.closing.cancelled() => return Err(QueueError::Closed),
            batch = self.inbox.take(max) => batch?,
        };
        self.held.extend(batch.iter().map(|delivery| delivery.tag));
        Ok(batch)
    }

    async fn ack_through(&mut self, tag: u64) -> Result<(), QueueError> {
        let count = self.held.partition_point(|held| *held <= tag);
        // The broker knows only tags that are still held: the last one of these, not of any other.
        let Some(last) = count.checked_sub(1).and_then(|last| self.held.get(last)).copied() else {
            return self.is_there();
        };
        let through = BasicAckOptions { multiple: true };
        self.channel()?.basic_ack(last, through).await.map_err(|e| unreachable(&e))?;
        self.held.drain(..count);
        self.inbox.done(count);
        Ok(())
    }

    async fn ack_each(&mut self, tags: &[u64]) -> Result<(), QueueError> {
        self.is_there()?;
        for tag in tags {
            self.held_at(*tag)?;
        }
        for tag in tags {
            // One that is named twice is told once: over a tag that it does not know the broker closes the channel.
            let Ok(at) = self.held_at(*tag) else { continue };
            let alone = BasicAckOptions { multiple: false };
            self.channel()?.basic_ack(*tag, alone).await.map_err(|e| unreachable(&e))?;
            self.held.remove(at);
            self.inbox.done(1);
        }
        Ok(())
    }

    async fn reject(&mut self, tag: u64) -> Result<(), QueueError> {
        self.give_back(tag, false).await
    }

    async fn requeue(&mut self, tag: u64) -> Result<(), QueueError> {
        self.give_back(tag, true).await
    }

    async fn close(mut self: Box<Self>) -> Result<(), QueueError> {
        if let Some(channel) = self.channel.take() {
            close_channel(&channel).await;
        }
        Ok(())
    }
}

impl Drop for RabbitConsumer {
    fn drop(&mut self) {
        let Some(channel) = self.channel.take() else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { close_channel(&channel).await });
        }
    }
}
