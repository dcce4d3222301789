//! How many messages a second RabbitMQ confirms to many callers of the adapter, beside what it confirms
//! to bare publishers, in turns: one that publishes the same messages the same way (through the exchange,
//! mandatory, with an id) and one that does the least there is (straight into a queue of the same kind).
//! Then confirms beside stop-and-wait and transactions.
//!
//! `cargo run --release -p messaging --example rabbit_bench -- [seconds] [callers] [rounds]` against the
//! broker of `TEST_AMQP_URL`, on a virtual host of its own: it is filled and emptied.

use std::fmt::Write as _;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contract::lane::{LaneMessage, OrderMessage};
use domain::{Epoch, OrderId, UnixMillis};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use messaging::OrderQueue;
use messaging::rabbitmq::{Addresses, RabbitBroker, RabbitOptions};
use messaging::topology::{self, lane_queue};
use tokio::task::JoinSet;
use tokio::time::Instant;

const SECONDS: u64 = 3;
const CALLERS: usize = 512;
const ROUNDS: usize = 5;
const QUEUE: &str = "bench.bare";
/// An id as long as the platform's.
const ID: &str = "01H8XGJWBWBAQ4Z1J8XGJWBWBA";
const PERSISTENT: u8 = 2;
/// Messages of one transaction, where there are several.
const BATCH: usize = 100;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let url = std::env::var("TEST_AMQP_URL").map_err(|_| "TEST_AMQP_URL must be set")?;
    let seconds = arguments.next().map_or(Ok(SECONDS), |a| a.parse())?;
    let callers = arguments.next().map_or(Ok(CALLERS), |a| a.parse())?;
    let rounds = arguments.next().map_or(Ok(ROUNDS), |a| a.parse())?;
    let lasting = Duration::from_secs(seconds);
    let options = RabbitOptions { lanes: 1, ..RabbitOptions::default() };
    let broker = RabbitBroker::start(&Addresses::parse(&url)?, options);
    broker.connected().await;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let bare = Bare::declare(&connection).await?;

    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for round in 1..=rounds {
        let mut line = format!("round {round}:");
        for (of_kind, kind) in rates.iter_mut().zip(["adapter", "bare", "shortest"]) {
            let processor = processor_ms();
            let rate = match kind {
                "adapter" => adapter(&broker, callers, lasting).await,
                "bare" => bare.confirms(Manner::TheSame, callers, lasting).await?,
                _ => bare.confirms(Manner::Shortest, callers, lasting).await?,
            };
            write!(
                line,
                " {kind} {rate}/s ({} us of this program's time each)",
                each_us(processor, rate, lasting)
            )?;
            bare.purge(&lane_queue(0)).await?;
            bare.purge(QUEUE).await?;
            of_kind.push(rate);
        }
        say(&line)?;
    }
    let [adapter, same, shortest] = rates.map(median);
    say(&format!(
        "{callers} callers, medians: adapter {adapter}/s; bare, the same messages {same}/s: {} %; bare, the \
         shortest way {shortest}/s: {} %",
        adapter * 100 / same.max(1),
        adapter * 100 / shortest.max(1)
    ))?;
    let one = bare.confirms(Manner::Shortest, 1, lasting).await?;
    let each = bare.transactions(1, lasting).await?;
    let batched = bare.transactions(BATCH, lasting).await?;
    bare.purge(QUEUE).await?;
    say(&format!(
        "shortest: confirms, {callers} under way {shortest}/s; one under way {one}/s; \
         a transaction each {each}/s; a transaction for {BATCH} {batched}/s"
    ))?;
    broker.close().await;
    Ok(())
}

fn say(line: &str) -> Outcome<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn median(mut rates: Vec<u64>) -> u64 {
    rates.sort_unstable();
    rates.get(rates.len() / 2).copied().unwrap_or(0)
}

fn rate(count: u64, since: Instant) -> u64 {
    let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    count.saturating_mul(1_000_000) / micros.max(1)
}

/// User and system time of this process so far.
fn processor_ms() -> u64 {
    // The kernel counts in hundredths of a second.
    const TICK_MS: u64 = 10;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok());
    ticks.sum::<u64>() * TICK_MS
}

fn each_us(since_ms: u64, rate: u64, lasting: Duration) -> u64 {
    (processor_ms() - since_ms) * 1_000 / rate.saturating_mul(lasting.as_secs()).max(1)
}

fn order(caller: usize, n: i64) -> OrderMessage {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&(caller as u64).to_be_bytes());
    OrderMessage {
        order: OrderId::mint(UnixMillis(n), random),
        sale: "bench".parse().expect("an id"),
        buyer: format!("buyer-{caller:050}").parse().expect("an id"),
        quantity: 1,
        epoch: Epoch(1),
        reserved_at: UnixMillis(1_700_000_000_000),
    }
}

/// Callers of the adapter, each publishing one order after the other.
async fn adapter(broker: &Arc<RabbitBroker>, callers: usize, lasting: Duration) -> u64 {
    let confirmed = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (broker, confirmed) = (Arc::clone(broker), Arc::clone(&confirmed));
        tasks.spawn(async move {
            let mut message = order(caller, 0);
            for n in 1.. {
                message.order = order(caller, n).order;
                if begun.elapsed() >= lasting {
                    return;
                }
                if OrderQueue::publish(&*broker, &LaneMessage::Order(message.clone())).await.is_ok() {
                    confirmed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    tasks.join_all().await;
    rate(confirmed.load(Ordering::Relaxed), begun)
}

/// How the bare publisher publishes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// As the platform must: through the lanes' exchange into a lane, mandatory, with an id.
    TheSame,
    /// Straight into a queue of the same kind, with nothing that is not needed for that.
    Shortest,
}

/// What a program would do that does nothing else.
struct Bare {
    confirming: Channel,
    transacting: Channel,
    body: Vec<u8>,
}

impl Bare {
    /// A queue like a lane, and one channel of each kind.
    async fn declare(connection: &Connection) -> Outcome<Self> {
        let confirming = connection.create_channel().await?;
        let mut arguments = FieldTable::default();
        let text = |text: &str| AMQPValue::LongString(text.into());
        arguments.insert("x-queue-type".into(), text("quorum"));
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(1_000_000));
        arguments.insert("x-overflow".into(), text("reject-publish"));
        arguments.insert("x-dead-letter-exchange".into(), text("seckill.dead"));
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(7 * 24 * 3600 * 1000));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(100));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        confirming.queue_declare(QUEUE.into(), durable, arguments).await?;
        confirming.confirm_select(ConfirmSelectOptions::default()).await?;
        let transacting = connection.create_channel().await?;
        transacting.tx_select().await?;
        Ok(Self { confirming, transacting, body: serde_json::to_vec(&LaneMessage::Order(order(0, 0)))? })
    }

    async fn purge(&self, queue: &str) -> Outcome<()> {
        self.confirming.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
        Ok(())
    }

    async fn publish(
        &self,
        channel: &Channel,
        manner: Manner,
    ) -> Result<lapin::PublisherConfirm, lapin::Error> {
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let options = BasicPublishOptions { mandatory: manner == Manner::TheSame, ..Default::default() };
        let (exchange, key, properties) = match manner {
            Manner::Shortest => ("", QUEUE, properties),
            Manner::TheSame => (
                topology::ORDERS,
                "0",
                properties.with_content_type("application/json".into()).with_message_id(ID.into()),
            ),
        };
        channel.basic_publish(exchange.into(), key.into(), options, &self.body, properties).await
    }

    /// So many publishes under way.
    async fn confirms(&self, manner: Manner, window: usize, lasting: Duration) -> Outcome<u64> {
        type Confirm<'a> = Pin<Box<dyn Future<Output = Result<bool, lapin::Error>> + Send + 'a>>;
        let mut under_way: FuturesUnordered<Confirm<'_>> = FuturesUnordered::new();
        let (begun, mut confirmed) = (Instant::now(), 0);
        loop {
            while under_way.len() < window && begun.elapsed() < lasting {
                let one = async { Ok(self.publish(&self.confirming, manner).await?.await?.is_ack()) };
                under_way.push(Box::pin(one));
            }
            match under_way.next().await {
                Some(acknowledged) => confirmed += u64::from(acknowledged?),
                None => return Ok(rate(confirmed, begun)),
            }
        }
    }

    /// So many publishes in each transaction.
    async fn transactions(&self, batch: usize, lasting: Duration) -> Outcome<u64> {
        let (begun, mut committed) = (Instant::now(), 0);
        while begun.elapsed() < lasting {
            for _ in 0..batch {
                self.publish(&self.transacting, Manner::Shortest).await?.await?;
            }
            self.transacting.tx_commit().await?;
            committed += batch as u64;
        }
        Ok(rate(committed, begun))
    }
}
