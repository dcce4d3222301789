//! Looking at dead letters: taken from their queue one by one, and given back.
//!
//! Two that look at once would see half each, so they take turns: within this process by a lock, among
//! processes by a queue that belongs to one connection at a time. If that queue cannot be had for long, they look all the
//! same: a letter is held by one of them at a time, and half a list is better than none.

use std::time::Duration;

use contract::api::DeadLetter;
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ErrorKind};
use tokio::time::{Instant, sleep};

use super::inbox::number;
use super::link::{Live, close_channel};
use super::unreachable;
use crate::QueueError;
use crate::topology::Cause;

/// Whoever has this queue looks at dead letters.
const TURN: &str = "seckill.dead.turn";
/// How long to wait for one's turn, in milliseconds.
const TURN_MS_MAX: u64 = 3_000;
/// Between two tries to get it, in milliseconds.
const TURN_EVERY_MS: u64 = 25;

/// A dead letter that was taken from its queue.
pub(super) struct Taken {
    pub(super) tag: u64,
    pub(super) message_id: String,
    pub(super) letter: DeadLetter,
}

/// One's turn to look at dead letters.
pub(super) struct Turn {
    /// The channel that has the queue, unless it could not be had.
    own: Option<Channel>,
    channel: Channel,
    /// Tags of what was taken and not removed, rising.
    taken: Vec<u64>,
}

impl Turn {
    /// Waits for one's turn.
    pub(super) async fn take(live: &Live) -> Result<Self, QueueError> {
        let own = Self::own(live).await?;
        let channel = live.channel().await.map_err(QueueError::Unreachable)?;
        Ok(Self { own, channel, taken: Vec::new() })
    }

    /// The turn's queue; `None` if somebody has had it for too long. Its node may have died: since RabbitMQ 4.2 the queue
    /// stays, out of everybody's reach, until the node is back.
    async fn own(live: &Live) -> Result<Option<Channel>, QueueError> {
        let deadline = Instant::now() + Duration::from_millis(TURN_MS_MAX);
        loop {
            let own = live.channel().await.map_err(QueueError::Unreachable)?;
            let options =
                QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
            match own.queue_declare(TURN.into(), options, FieldTable::default()).await {
                Ok(_) => return Ok(Some(own)),
                Err(error) if is_locked(&error) && Instant::now() < deadline => {
                    sleep(Duration::from_millis(TURN_EVERY_MS)).await;
                }
                Err(error) if is_locked(&error) => {
                    tracing::warn!(%error, "looking at dead letters out of turn");
                    return Ok(None);
                }
                Err(error) => return Err(unreachable(&error)),
            }
        }
    }

    /// Takes the next dead letter of a cause.
    pub(super) async fn next(&mut self, cause: Cause) -> Result<Option<Taken>, QueueError> {
        let got = self.channel.basic_get(cause.queue().into(), BasicGetOptions::default()).await;
        let Some(message) = got.map_err(|e| unreachable(&e))? else { return Ok(None) };
        self.taken.push(message.delivery_tag);
        Ok(Some(read(message, cause)))
    }

    /// Takes a letter away for good.
    pub(super) async fn remove(&mut self, tag: u64) -> Result<(), QueueError> {
        let one = BasicAckOptions { multiple: false };
        self.channel.basic_ack(tag, one).await.map_err(|e| unreachable(&e))?;
        self.taken.retain(|taken| *taken != tag);
        Ok(())
    }

    /// Gives back whatever was taken.
    pub(super) async fn give_back(&mut self) -> Result<(), QueueError> {
        let Some(last) = self.taken.pop() else { return Ok(()) };
        self.taken.clear();
        let all = BasicNackOptions { multiple: true, requeue: true };
        self.channel.basic_nack(last, all).await.map_err(|e| unreachable(&e))
    }

    /// The next one's turn.
    pub(super) async fn end(self) {
        close_channel(&self.channel).await;
        if let Some(own) = self.own {
            // If this fails the connection is gone, and the queue with it.
            let _ = own.queue_delete(TURN.into(), QueueDeleteOptions::default()).await;
            close_channel(&own).await;
        }
    }
}

fn is_locked(error: &lapin::Error) -> bool {
    const RESOURCE_LOCKED: u16 = 405;
    matches!(error.kind(), ErrorKind::ProtocolError(told) if told.get_id() == RESOURCE_LOCKED)
}

fn read(message: BasicGetMessage, cause: Cause) -> Taken {
    let delivery = message.delivery;
    let empty = FieldTable::default();
    let headers = delivery.properties.headers().as_ref().unwrap_or(&empty);
    let message_id = delivery.properties.message_id().as_ref().map(|id| id.as_str().to_owned());
    let message_id = message_id.unwrap_or_default();
    let queue = text(headers, "x-first-death-queue");
    let died_at = died_at(headers);
    let body = String::from_utf8_lossy(&delivery.data).into_owned();
    let print =
        fingerprint(&[queue.as_bytes(), message_id.as_bytes(), &died_at.to_be_bytes(), &delivery.data]);
    let id = format!("{}-{print:016x}", cause.as_str());
    let letter = DeadLetter { id, queue, reason: cause.as_str().to_owned(), died_at, body };
    Taken { tag: delivery.delivery_tag, message_id, letter }
}

/// The cause that a letter's id begins with.
pub(super) fn cause_of(id: &str) -> Option<Cause> {
    Cause::ALL
        .into_iter()
        .find(|cause| id.strip_prefix(cause.as_str()).is_some_and(|rest| rest.starts_with('-')))
}

/// A letter's id says what it is, since the broker numbers nothing: two letters that share it are equal.
fn fingerprint(parts: &[&[u8]]) -> u64 {
    // FNV-1a, each part closed by a byte that no text holds.
    let bytes = parts.iter().flat_map(|part| part.iter().copied().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn text(headers: &FieldTable, name: &str) -> String {
    match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        Some(AMQPValue::ShortString(text)) => text.to_string(),
        _ => String::new(),
    }
}

/// When it died, in Unix milliseconds; the broker counts in seconds.
fn died_at(headers: &FieldTable) -> i64 {
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else { return 0 };
    match deaths.as_slice().first() {
        Some(AMQPValue::FieldTable(death)) => match death.inner().get("time") {
            Some(AMQPValue::Timestamp(seconds)) => i64::try_from(*seconds).unwrap_or(0).saturating_mul(1000),
            _ => number(death, "time").saturating_mul(1000),
        },
        _ => 0,
    }
}
