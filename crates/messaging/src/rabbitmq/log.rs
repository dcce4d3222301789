//! The log of events: a stream that can be read again from any place in it.

use std::str::FromStr;
use std::time::Duration;

use contract::events::Event;
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use tokio::time::timeout;

use super::address::{Addresses, node};
use super::dial;
use super::inbox::number;
use super::options::SETUP_MS_MAX;
use super::plan::LOG;
use super::unreachable;
use crate::QueueError;

/// Events sent ahead of their reading.
const AHEAD_MAX: u16 = 256;

/// Where reading begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogStart {
    /// With the oldest event there is.
    First,
    /// With the last chunk written: the latest events, a few or a few hundred.
    Last,
    /// With what comes from now on.
    Next,
    /// With this offset, or the oldest there is if it is gone.
    Offset(u64),
    /// With the chunk of this moment, in Unix seconds: a little earlier than asked for.
    UnixSeconds(u64),
}

/// A word that is no place in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of first, last, next, an offset, or @ and Unix seconds")]
pub struct LogStartError(String);

impl FromStr for LogStart {
    type Err = LogStartError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || LogStartError(text.to_owned());
        match (text, text.strip_prefix('@')) {
            ("first", _) => Ok(Self::First),
            ("last", _) => Ok(Self::Last),
            ("next", _) => Ok(Self::Next),
            (_, Some(seconds)) => seconds.parse().map(Self::UnixSeconds).map_err(|_| bad()),
            (offset, None) => offset.parse().map(Self::Offset).map_err(|_| bad()),
        }
    }
}

impl LogStart {
    /// What a consumer of the log says to begin there.
    pub(super) fn as_arguments(self) -> FieldTable {
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), self.argument());
        arguments
    }

    fn argument(self) -> AMQPValue {
        match self {
            Self::First => AMQPValue::LongString("first".into()),
            Self::Last => AMQPValue::LongString("last".into()),
            Self::Next => AMQPValue::LongString("next".into()),
            Self::Offset(offset) => AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX)),
            Self::UnixSeconds(seconds) => AMQPValue::Timestamp(seconds),
        }
    }
}

/// An event and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedEvent {
    /// Its offset; rises by one from event to event.
    pub offset: u64,
    /// The event, or its text if this version cannot read it.
    pub event: Result<Event, String>,
}

/// A reader of the log.
pub struct EventLog {
    channel: Channel,
    stream: lapin::Consumer,
    unacknowledged: u16,
    _connection: Connection,
}

impl EventLog {
    /// Reads the log of the broker at `addresses`, from `start` on.
    ///
    /// # Errors
    /// [`QueueError::Unreachable`] when no node answers, or there is no log.
    pub async fn open(addresses: &Addresses, start: LogStart) -> Result<Self, QueueError> {
        let mut failed = String::new();
        for attempt in 0..addresses.count() {
            let uri = addresses.nth(attempt);
            let name = node(&uri);
            let bound = Duration::from_millis(SETUP_MS_MAX);
            let connection = match dial::connect(uri, "seckill events", bound).await {
                Ok(connection) => connection,
                Err(why) => {
                    failed = format!("{name}: {why}");
                    continue;
                }
            };
            match timeout(bound, Self::read(connection, start)).await {
                Ok(Ok(log)) => return Ok(log),
                Ok(Err(error)) => failed = format!("{name}: {error}"),
                Err(_) => failed = format!("{name}: no answer within {SETUP_MS_MAX} ms"),
            }
        }
        Err(QueueError::Unreachable(failed))
    }

    async fn read(connection: Connection, start: LogStart) -> Result<Self, lapin::Error> {
        let channel = connection.create_channel().await?;
        channel.basic_qos(AHEAD_MAX, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let stream = channel.basic_consume(LOG.into(), "".into(), options, start.as_arguments()).await?;
        Ok(Self { channel, stream, unacknowledged: 0, _connection: connection })
    }

    /// Waits for the next event. At the end of the log that is the next one published.
    ///
    /// # Errors
    /// [`QueueError::Unreachable`] when the connection is lost.
    pub async fn next(&mut self) -> Result<LoggedEvent, QueueError> {
        let ended = || QueueError::Unreachable("the broker ended the reading".into());
        let message = self.stream.next().await.ok_or_else(ended)?.map_err(|e| unreachable(&e))?;
        self.unacknowledged += 1;
        // Acknowledging a stream's message only asks for more of them.
        if self.unacknowledged >= AHEAD_MAX / 2 {
            let through = BasicAckOptions { multiple: true };
            self.channel.basic_ack(message.delivery_tag, through).await.map_err(|e| unreachable(&e))?;
            self.unacknowledged = 0;
        }
        let offset = message.properties.headers().as_ref().map_or(0, |h| number(h, "x-stream-offset"));
        let event = serde_json::from_slice(&message.data)
            .map_err(|_| String::from_utf8_lossy(&message.data).into_owned());
        Ok(LoggedEvent { offset: u64::try_from(offset).unwrap_or(0), event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_log_is_a_word_an_offset_or_a_moment() {
        assert_eq!("first".parse(), Ok(LogStart::First));
        assert_eq!("17".parse(), Ok(LogStart::Offset(17)));
        assert_eq!("@1700000000".parse(), Ok(LogStart::UnixSeconds(1_700_000_000)));
        assert_eq!("soon".parse::<LogStart>(), Err(LogStartError("soon".into())));
    }
}
