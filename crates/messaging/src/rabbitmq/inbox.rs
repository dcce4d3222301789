//! What a consumer was sent and has not taken yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use lapin::types::{AMQPValue, FieldTable};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::unreachable;
use crate::{Delivery, QueueError};

/// Filled by a task that reads the consumer's stream, emptied by whoever consumes. The prefetch bounds it.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Notify,
    held: AtomicU64,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Delivery>,
    ended: Option<QueueError>,
}

impl Inbox {
    /// Reads the stream until the broker or the connection ends it. The stream is dropped only then:
    /// dropping it before the channel is closed would cancel the consumer first, and the next one
    /// would start while this one still holds messages.
    pub(super) fn reading(mut stream: lapin::Consumer) -> Arc<Self> {
        let inbox = Arc::new(Self::default());
        let filling = Arc::clone(&inbox);
        tokio::spawn(async move {
            let ended = loop {
                match stream.next().await {
                    Some(Ok(message)) => filling.add(delivery(message)),
                    Some(Err(error)) => break unreachable(&error),
                    None => break QueueError::Unreachable("the broker ended the consumer".into()),
                }
            };
            filling.end(ended);
        });
        inbox
    }

    fn add(&self, delivery: Delivery) {
        self.state.lock().ready.push_back(delivery);
        self.changed.notify_one();
    }

    fn end(&self, why: QueueError) {
        self.state.lock().ended = Some(why);
        self.changed.notify_one();
    }

    /// Waits for a delivery, then takes what is there, `max` at most. Cancelling the wait loses nothing.
    pub(super) async fn take(&self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.lock();
                if let Some(why) = &state.ended {
                    // What was sent before it ended is the broker's again.
                    return Err(why.clone());
                }
                let count = state.ready.len().min(max.max(1));
                if count > 0 {
                    self.held.fetch_add(count as u64, Ordering::Relaxed);
                    return Ok(state.ready.drain(..count).collect());
                }
            }
            changed.await;
        }
    }

    /// So many deliveries are not held any more.
    pub(super) fn done(&self, count: usize) {
        self.held.fetch_sub(count as u64, Ordering::Relaxed);
    }

    /// Sent, not taken yet.
    pub(super) fn ahead(&self) -> u64 {
        self.state.lock().ready.len() as u64
    }

    /// Taken, not acknowledged yet.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

fn delivery(message: lapin::message::Delivery) -> Delivery {
    // Quorum queues count; the flag is for what they did not count yet.
    let counted = message.properties.headers().as_ref().map_or(0, |h| number(h, "x-delivery-count"));
    let redelivered = u32::try_from(counted).unwrap_or(0).max(u32::from(message.redelivered));
    Delivery { tag: message.delivery_tag, redelivered, body: message.data }
}

/// A whole number among headers, 0 if there is none.
pub(super) fn number(headers: &FieldTable, name: &str) -> i64 {
    match headers.inner().get(name) {
        Some(AMQPValue::LongLongInt(n)) => *n,
        Some(AMQPValue::LongInt(n)) => i64::from(*n),
        Some(AMQPValue::LongUInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortUInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortShortInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortShortUInt(n)) => i64::from(*n),
        _ => 0,
    }
}
