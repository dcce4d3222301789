//! The topology as RabbitMQ is told it: exchanges, queues with their arguments, and bindings. Declared
//! at every connection, again now and then, and written to `infra/rabbitmq/definitions.json`.

use contract::events::Channel;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel as AmqpChannel, ExchangeKind};

use crate::Subscription;
use crate::topology::{self, Cause, Limits, Overflow, SUBSCRIPTIONS};

/// The stream queue that keeps every event for a while.
pub(super) const LOG: &str = "seckill.log";
/// An empty queue whose length limit is the number of lanes: a service that counts otherwise cannot
/// declare it, and stays unready instead of splitting sales over lanes.
pub(super) const LANES_AGREED: &str = "seckill.lanes";

/// How long the log keeps an event at least.
const LOG_AGE_MAX: &str = "30D";
/// How large the log grows, in bytes.
const LOG_BYTES_MAX: i64 = 2 << 30;
/// The log is trimmed by whole segments of this many bytes.
const LOG_SEGMENT_BYTES: i64 = 64 << 20;
/// Looking at a dead letter is a delivery too, and none of them may kill it. 4.x limits to 20 where
/// nothing is said, and 3.10 knows no word for "unlimited".
const LOOKS_MAX: i64 = i32::MAX as i64;

/// How long a queue waits for consumers on a node that is away before it gives their messages to others, in
/// milliseconds. 4.3 and later would wait a minute, and a lane has one consumer at a time; earlier versions, which do
/// not know the word, do not wait at all. What is delivered twice is known by its id.
const CONSUMERS_AWAY_MS: i64 = 1_000;

/// An argument's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Text(&'static str),
    Number(i64),
    Flag(bool),
}

/// Arguments by name.
pub(super) type Arguments = Vec<(&'static str, Value)>;

/// An exchange; all are durable.
pub(super) struct Exchange {
    pub(super) name: &'static str,
    pub(super) kind: ExchangeKind,
}

/// A queue; all are durable.
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) arguments: Arguments,
}

/// What leads messages from an exchange to a queue.
pub(super) struct Binding {
    pub(super) exchange: &'static str,
    pub(super) queue: String,
    pub(super) key: String,
    pub(super) arguments: Arguments,
}

/// All that is declared.
pub(super) struct Plan {
    pub(super) exchanges: Vec<Exchange>,
    pub(super) queues: Vec<Queue>,
    pub(super) bindings: Vec<Binding>,
}

impl Plan {
    /// The topology with this many lanes and these limits.
    pub(super) fn new(lanes: u16, limits: &Limits) -> Self {
        let exchanges = [
            (topology::ORDERS, ExchangeKind::Direct),
            (topology::EVENTS, ExchangeKind::Topic),
            (topology::BROADCAST, ExchangeKind::Fanout),
            (topology::NOTICES, ExchangeKind::Headers),
            (topology::DEAD, ExchangeKind::Headers),
        ];
        let exchanges = exchanges.map(|(name, kind)| Exchange { name, kind }).into();
        let mut plan = Self { exchanges, queues: Vec::new(), bindings: Vec::new() };
        // Dead-letter queues first: a lane declared before them could lose a dead letter.
        Cause::ALL.into_iter().for_each(|cause| plan.add_cause(cause, limits));
        plan.add_log();
        SUBSCRIPTIONS.into_iter().for_each(|subscription| plan.add_subscription(subscription, limits));
        plan.add(LANES_AGREED.into(), quorum(vec![("x-max-length", Value::Number(lanes.into()))]));
        (0..lanes).for_each(|lane| plan.add_lane(lane, limits));
        plan
    }

    fn add(&mut self, name: String, arguments: Arguments) {
        self.queues.push(Queue { name, arguments });
    }

    fn bind(&mut self, exchange: &'static str, queue: &str, key: &str, arguments: Arguments) {
        self.bindings.push(Binding { exchange, queue: queue.into(), key: key.into(), arguments });
    }

    fn add_lane(&mut self, lane: u16, limits: &Limits) {
        let queue = topology::lane_queue(lane);
        let mut arguments = refusing(limits.lane_messages_max, limits);
        arguments.push(("x-single-active-consumer", Value::Flag(true)));
        self.bind(topology::ORDERS, &queue, &lane.to_string(), Vec::new());
        self.add(queue, arguments);
    }

    fn add_subscription(&mut self, subscription: Subscription, limits: &Limits) {
        let queue = topology::subscription_queue(subscription);
        if let Subscription::Notices(channel) = subscription {
            self.bind(topology::NOTICES, &queue, "", by_channel(channel));
        }
        for pattern in topology::patterns(subscription) {
            self.bind(topology::EVENTS, &queue, pattern, Vec::new());
        }
        let arguments = match topology::bounds(subscription, limits) {
            (messages_max, Overflow::Refuse) => refusing(messages_max, limits),
            (messages_max, Overflow::DropHead) => giving_way(messages_max, limits),
        };
        self.add(queue, arguments);
    }

    fn add_cause(&mut self, cause: Cause, limits: &Limits) {
        let queue = cause.queue();
        // Plain `all` passes over headers that begin with `x-`.
        let matching = vec![
            ("x-match", Value::Text("all-with-x")),
            ("x-first-death-reason", Value::Text(cause.as_str())),
        ];
        self.bind(topology::DEAD, &queue, "", matching);
        let arguments = vec![
            ("x-max-length", number(limits.dead_letters_max)),
            ("x-overflow", Value::Text("drop-head")),
            ("x-delivery-limit", Value::Number(LOOKS_MAX)),
        ];
        self.add(queue, quorum(arguments));
    }

    fn add_log(&mut self) {
        self.bind(topology::EVENTS, LOG, "#", Vec::new());
        let arguments = vec![
            ("x-queue-type", Value::Text("stream")),
            ("x-max-age", Value::Text(LOG_AGE_MAX)),
            ("x-max-length-bytes", Value::Number(LOG_BYTES_MAX)),
            ("x-stream-max-segment-size-bytes", Value::Number(LOG_SEGMENT_BYTES)),
        ];
        self.add(LOG.into(), arguments);
    }

    /// Declares all of it; what is there already stays as it is.
    pub(super) async fn declare(&self, channel: &AmqpChannel) -> Result<(), lapin::Error> {
        for exchange in &self.exchanges {
            let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            channel
                .exchange_declare(exchange.name.into(), exchange.kind.clone(), durable, FieldTable::default())
                .await?;
        }
        for queue in &self.queues {
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.name.as_str().into(), durable, table(&queue.arguments)).await?;
        }
        for binding in &self.bindings {
            channel
                .queue_bind(
                    binding.queue.as_str().into(),
                    binding.exchange.into(),
                    binding.key.as_str().into(),
                    QueueBindOptions::default(),
                    table(&binding.arguments),
                )
                .await?;
        }
        Ok(())
    }
}

fn number(limit: u64) -> Value {
    Value::Number(i64::try_from(limit).unwrap_or(i64::MAX))
}

fn quorum(mut arguments: Arguments) -> Arguments {
    arguments.push(("x-queue-type", Value::Text("quorum")));
    arguments
}

/// A queue that refuses when it is full, and loses nothing on the way to the dead letters.
fn refusing(messages_max: u64, limits: &Limits) -> Arguments {
    let mut arguments = mortal(messages_max, limits);
    arguments.push(("x-overflow", Value::Text("reject-publish")));
    arguments.push(("x-dead-letter-strategy", Value::Text("at-least-once")));
    arguments
}

/// A queue whose oldest messages give way. At-least-once dead-lettering needs a queue that refuses.
fn giving_way(messages_max: u64, limits: &Limits) -> Arguments {
    let mut arguments = mortal(messages_max, limits);
    arguments.push(("x-overflow", Value::Text("drop-head")));
    arguments
}

fn mortal(messages_max: u64, limits: &Limits) -> Arguments {
    quorum(vec![
        ("x-max-length", number(messages_max)),
        ("x-message-ttl", Value::Number(limits.message_ttl_ms)),
        ("x-delivery-limit", Value::Number(limits.delivery_limit.into())),
        ("x-dead-letter-exchange", Value::Text(topology::DEAD)),
        ("x-consumer-disconnected-timeout", Value::Number(CONSUMERS_AWAY_MS)),
    ])
}

fn by_channel(channel: Channel) -> Arguments {
    vec![("x-match", Value::Text("all")), ("channel", Value::Text(channel.as_str()))]
}

/// Arguments as the protocol carries them.
pub(super) fn table(arguments: &Arguments) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Value::Text(text) => AMQPValue::LongString((*text).into()),
            Value::Number(number) => AMQPValue::LongLongInt(*number),
            Value::Flag(flag) => AMQPValue::Boolean(*flag),
        };
        table.insert((*name).into(), value);
    }
    table
}
