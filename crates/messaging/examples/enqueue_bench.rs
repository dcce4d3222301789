//! How many messages a second the embedded broker takes, delivers and sees acknowledged, and what
//! processor time each costs.
//!
//! `cargo run --release -p messaging --example enqueue_bench -- [publishers] [seconds] [folder]`

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contract::lane::{LaneMessage, OrderMessage};
use domain::{Clock, Epoch, OrderId, UnixMillis};
use messaging::OrderQueue;
use messaging::embedded::{EmbeddedBroker, EmbeddedOptions};
use tokio::task::JoinSet;
use tokio::time::Instant;

const PUBLISHERS: usize = 512;
const SECONDS: u64 = 10;
const BATCH_MAX: usize = 500;
/// The kernel's unit of processor time in `/proc/self/stat`.
const TICKS_PER_SECOND: u64 = 100;

/// A clock that counts from the start: the queue only compares.
struct Since(Instant);

impl Clock for Since {
    fn now(&self) -> UnixMillis {
        UnixMillis(i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

#[derive(Default)]
struct Counts {
    published: AtomicU64,
    consumed: AtomicU64,
    slowest_us: AtomicU64,
    waited_us: AtomicU64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let publishers = arguments.next().map_or(Ok(PUBLISHERS), |a| a.parse())?;
    let seconds = arguments.next().map_or(Ok(SECONDS), |a| a.parse())?;
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("enqueue-bench-{}", std::process::id()));
    let clock = Arc::new(Since(Instant::now()));
    let broker = EmbeddedBroker::open(&folder.join("queue.db"), EmbeddedOptions::default(), clock).await?;
    let counts = Arc::new(Counts::default());

    let lane = contract::lane::lane_of(&"bench".parse()?, broker.lanes());
    let consumer = tokio::spawn(consume(Arc::clone(&broker), lane, Arc::clone(&counts)));
    let (begun, processor) = (Instant::now(), processor_ticks());
    let until = begun + Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    for n in 0..publishers {
        tasks.spawn(publish(Arc::clone(&broker), n, until, Arc::clone(&counts)));
    }
    tasks.join_all().await;
    let published = counts.published.load(Ordering::Relaxed);
    while counts.consumed.load(Ordering::Relaxed) < published {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = begun.elapsed();
    let used_us = (processor_ticks() - processor) * 1_000_000 / TICKS_PER_SECOND;
    broker.close().await?;
    consumer.await?;
    std::fs::remove_dir_all(&folder)?;
    let rate = u128::from(published) * 1_000_000 / took.as_micros().max(1);
    let each = |total: u64| total / published.max(1);
    writeln!(
        std::io::stdout(),
        "{publishers} publishers, {took:.1?}: {published} published, delivered and acknowledged, {rate}/s; \
         {} us of processor time each; confirm: mean {} us, slowest {} us; peak memory {}",
        each(used_us),
        each(counts.waited_us.load(Ordering::Relaxed)),
        counts.slowest_us.load(Ordering::Relaxed),
        peak_memory(),
    )?;
    Ok(())
}

async fn publish(broker: Arc<EmbeddedBroker>, publisher: usize, until: Instant, counts: Arc<Counts>) {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&(publisher as u64).to_be_bytes());
    let mut message = OrderMessage {
        order: OrderId::mint(UnixMillis(0), random),
        sale: "bench".parse().expect("an id"),
        buyer: format!("buyer-{publisher:050}").parse().expect("an id"),
        quantity: 1,
        epoch: Epoch(1),
        reserved_at: UnixMillis(1_700_000_000_000),
    };
    let mut n = 0;
    while Instant::now() < until {
        n += 1;
        message.order = OrderId::mint(UnixMillis(n), random);
        let asked = Instant::now();
        if OrderQueue::publish(&*broker, &LaneMessage::Order(message.clone())).await.is_ok() {
            let waited = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
            counts.published.fetch_add(1, Ordering::Relaxed);
            counts.waited_us.fetch_add(waited, Ordering::Relaxed);
            counts.slowest_us.fetch_max(waited, Ordering::Relaxed);
        }
    }
}

async fn consume(broker: Arc<EmbeddedBroker>, lane: u16, counts: Arc<Counts>) {
    let Ok(mut consumer) = OrderQueue::consume(&*broker, lane).await else { return };
    while let Ok(batch) = consumer.next_batch(BATCH_MAX).await {
        let Some(last) = batch.last() else { return };
        if consumer.ack_through(last.tag).await.is_err() {
            return;
        }
        counts.consumed.fetch_add(batch.len() as u64, Ordering::Relaxed);
    }
}

/// User and system time of this process so far.
fn processor_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum()
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.unwrap_or(" unknown").trim().to_owned()
}
