//! How full the queues are: asked by declaring them passively, which needs no management plugin.
//!
//! The broker tells what is ready and who consumes, not what is delivered and unacknowledged. That is
//! known of this process's own consumers only: what they were sent ahead counts as ready, what they
//! hold as in flight.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use contract::api::QueueInfo;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use parking_lot::Mutex;

use super::inbox::Inbox;
use super::link::{Link, within};
use super::options::ANSWER_MS_MAX;
use crate::QueueError;

/// Asks for the depths of queues.
pub(super) struct Stats {
    link: Arc<Link>,
    /// Used by one at a time, and left empty by whoever gave up waiting.
    channel: tokio::sync::Mutex<Option<Channel>>,
    inboxes: Mutex<HashMap<String, Vec<Weak<Inbox>>>>,
}

impl Stats {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, channel: tokio::sync::Mutex::default(), inboxes: Mutex::default() }
    }

    /// Counts what a consumer of this process is sent and holds.
    pub(super) fn count(&self, queue: &str, inbox: &Arc<Inbox>) {
        let mut inboxes = self.inboxes.lock();
        let of_queue = inboxes.entry(queue.to_owned()).or_default();
        of_queue.retain(|inbox| inbox.strong_count() > 0);
        of_queue.push(Arc::downgrade(inbox));
    }

    /// The queues as they are now.
    pub(super) async fn infos(
        &self,
        queues: impl IntoIterator<Item = String>,
    ) -> Result<Vec<QueueInfo>, QueueError> {
        let mut infos = Vec::new();
        for queue in queues {
            let (ready, consumers) = self.ask(&queue).await?;
            let (ahead, in_flight) = self.own(&queue);
            infos.push(QueueInfo { depth: ready + ahead, consumers, in_flight, name: queue });
        }
        Ok(infos)
    }

    /// Messages that the broker could deliver.
    pub(super) async fn ready(&self, queue: &str) -> Result<u64, QueueError> {
        Ok(self.ask(queue).await?.0)
    }

    async fn ask(&self, queue: &str) -> Result<(u64, u32), QueueError> {
        let mut place = self.channel.lock().await;
        let channel = match place.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => {
                let live = self.link.live().map_err(QueueError::Unreachable)?;
                live.channel().await.map_err(QueueError::Unreachable)?
            }
        };
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = channel.queue_declare(queue.into(), passive, FieldTable::default());
        let told = within(ANSWER_MS_MAX, asked).await.map_err(QueueError::Unreachable)?;
        let answer = (u64::from(told.message_count()), told.consumer_count());
        *place = Some(channel);
        Ok(answer)
    }

    fn own(&self, queue: &str) -> (u64, u64) {
        let inboxes = self.inboxes.lock();
        let of_queue = inboxes.get(queue).into_iter().flatten().filter_map(Weak::upgrade);
        of_queue.fold((0, 0), |(ahead, held), inbox| (ahead + inbox.ahead(), held + inbox.held()))
    }
}
