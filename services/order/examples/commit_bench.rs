//! How fast the ledger commits: batches of a lane against a real file, synced on every commit.
//!
//! `cargo run --release -p order --example commit_bench [orders] [batch]`

use std::process::ExitCode;
use std::sync::Arc;

use contract::internal::PutAllocation;
use contract::lane::{LaneMessage, OrderMessage};
use domain::{Clock, Epoch, OrderId, SaleId, UnixMillis};
use order::order_store::{OrderStore, SqliteOptions, SqliteStore};
use service_kit::SystemClock;
use tokio::time::Instant;

const ORDERS: usize = 400_000;
const BATCH: usize = 500;

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "its figures are its output")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let orders = arguments.next().and_then(Result::ok).unwrap_or(ORDERS);
    let batch = arguments.next().and_then(Result::ok).unwrap_or(BATCH).max(1);
    match run(orders, batch).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("commit_bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(orders: usize, batch: usize) -> Result<String, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ledger.db");
    let store = SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock)).await?;
    let sale: SaleId = "bench".parse()?;
    let put = PutAllocation {
        total: u32::try_from(orders)?,
        total_version: 1,
        price_cents: 1_999,
        currency: "EUR".into(),
        per_user_limit: 1,
        pay_within_s: 600,
    };
    store.put_allocation(&sale, &put).await?;
    let start = SystemClock.now();
    let (mut cpu, mut busy) = (cpu_ms(), std::time::Duration::ZERO);
    let mut taken = 0;
    let ids: Vec<usize> = (0..orders).collect();
    for part in ids.chunks(batch) {
        let batch: Vec<_> = part.iter().map(|n| message(&sale, *n, start)).collect::<Result<_, _>>()?;
        let began = Instant::now();
        taken += store.commit_batch(&batch).await?.taken;
        // The relay's half of the work: told, and out of the outbox.
        let rows = store.outbox(16).await?;
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        store.outbox_told(&seqs).await?;
        busy += began.elapsed();
    }
    cpu = cpu_ms() - cpu;
    let findings = store.audit().await?;
    Ok(format!(
        "{taken} orders in batches of {batch}: {:.0}/s, {:.1} us CPU each, {} MB resident at most, {} findings",
        f64::from(u32::try_from(taken)?) / busy.as_secs_f64(),
        f64::from(u32::try_from(cpu)?) * 1000.0 / f64::from(u32::try_from(taken)?),
        peak_mb(),
        findings.len(),
    ))
}

fn message(sale: &SaleId, n: usize, start: UnixMillis) -> Result<LaneMessage, Box<dyn std::error::Error>> {
    let n = u32::try_from(n)?;
    // Buyers come in no order, as in life.
    let buyer = format!("buyer-{:08x}", n.wrapping_mul(2_654_435_761));
    let mut random = [7; 10];
    random[6..].copy_from_slice(&n.to_be_bytes());
    Ok(LaneMessage::Order(OrderMessage {
        order: OrderId::mint(start.plus(i64::from(n / 12)), random),
        sale: sale.clone(),
        buyer: buyer.parse()?,
        quantity: 1,
        epoch: Epoch(1),
        reserved_at: start,
    }))
}

/// CPU time of this process in milliseconds; 0 where the system does not tell.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    // utime and stime, in hundredths of a second.
    (ticks(11) + ticks(12)) * 10
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.split_whitespace().next());
    kib.and_then(|k| k.parse::<u64>().ok()).unwrap_or(0) / 1024
}
