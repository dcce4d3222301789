//! The adapter's reserve beside a bare pipelining client that calls the same function, taken in turn
//! against the server of `TEST_REDIS_URL`. Prints both rates and their ratio.
//!
//! `cargo run --release -p stock --example reserve_bench [CALLS PER ROUND]`

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use domain::{BuyerId, Epoch, OrderId, Phase, ReservationId, SaleId, UnixMillis};
use futures_util::future::try_join_all;
use stock::{Rebuild, RedisOptions, RedisStock, ReserveOutcome, ReserveRequest, StockConfig, StockStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Callers of the adapter, and calls that the bare client keeps under way.
const CALLERS: u64 = 512;
/// Reservations of one measurement, unless the command line says otherwise.
const CALLS: u64 = 200_000;
/// Pairs of measurements.
const ROUNDS: u64 = 4;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What a measurement reserves from: a sale of its own, with more units than it takes.
struct Lot {
    sale: SaleId,
    epoch: Epoch,
    expires_at: UnixMillis,
}

impl Lot {
    async fn open(store: &dyn StockStore, name: &str) -> Outcome<Self> {
        let sale: SaleId = format!("bench-{name}").parse()?;
        // Over whatever an earlier run has left.
        let epoch = store.view(&sale).await.map_or(0, |view| view.epoch.0).max(std::process::id().into()) + 1;
        let rebuild = Rebuild { sale: sale.clone(), epoch: Epoch(epoch), token: 1 };
        let config = StockConfig {
            version: 1,
            opens_at: UnixMillis(0),
            ends_at: UnixMillis(i64::MAX),
            phase: Phase::Active,
            per_user_limit: 1,
        };
        let written = store.rebuild_begin(&rebuild).await?
            && store.rebuild_finish(&rebuild, &config, u32::MAX / 2, 1).await?;
        if !written {
            return Err("the sale is there at a higher epoch: flush the server".into());
        }
        let expires_at = store.view(&sale).await?.now.plus(3_600_000);
        Ok(Self { sale, epoch: Epoch(epoch), expires_at })
    }

    fn request(&self, n: u64) -> Outcome<ReserveRequest> {
        Ok(ReserveRequest {
            sale: self.sale.clone(),
            id: ReservationId::first(order(n)),
            buyer: buyer(n)?,
            quantity: 1,
            epoch: self.epoch,
            expires_at: self.expires_at,
        })
    }

    /// The same call as the adapter's, as bytes.
    fn packed(&self, n: u64) -> Outcome<Vec<u8>> {
        let mut command = redis::cmd("FCALL");
        command.arg("seckill_reserve").arg(3);
        for key in ["state", "book", "ages"] {
            command.arg(format!("seckill:{{{}}}:{key}", self.sale));
        }
        command.arg([&[0], &order(n).to_bytes()[..]].concat()).arg(buyer(n)?.as_str());
        command.arg(1).arg(self.epoch.0).arg(self.expires_at.0);
        Ok(command.get_packed_command())
    }
}

fn order(n: u64) -> OrderId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    OrderId::mint(UnixMillis(1_700_000_000_000), random)
}

fn buyer(n: u64) -> Outcome<BuyerId> {
    Ok(format!("buyer-{n:08}").parse()?)
}

/// Reservations per second through the adapter.
async fn adapter(store: &Arc<RedisStock>, lot: Lot, calls: u64) -> Outcome<f64> {
    let (lot, next) = (Arc::new(lot), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let (store, lot, next) = (store.clone(), lot.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= calls {
                    return Outcome::Ok(());
                }
                let answer = store.reserve(&lot.request(n)?).await?;
                if answer != ReserveOutcome::Reserved {
                    return Err(format!("{n}: {answer:?}").into());
                }
            }
        })
    });
    for caller in try_join_all(callers).await? {
        caller?;
    }
    Ok(rate(calls, began))
}

/// Reservations per second by writing batches and reading their answers, with nothing in between. The
/// commands are packed beforehand.
async fn bare(address: &str, lot: &Lot, calls: u64) -> Outcome<f64> {
    let half = CALLERS / 2;
    let mut batches = Vec::new();
    for start in (0..calls).step_by(usize::try_from(half)?) {
        let end = (start + half).min(calls);
        let mut batch = Vec::new();
        for n in start..end {
            batch.extend(lot.packed(n)?);
        }
        batches.push((batch, end - start));
    }
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let began = Instant::now();
    let (mut owed, mut buffer) = (0, vec![0; 64 * 1024]);
    for (batch, size) in &batches {
        stream.write_all(batch).await?;
        owed += size;
        // The other half is under way while this one is answered.
        while owed > half {
            owed -= answers(&mut stream, &mut buffer).await?;
        }
    }
    while owed > 0 {
        owed -= answers(&mut stream, &mut buffer).await?;
    }
    Ok(rate(calls, began))
}

/// Answers in what has arrived: each is `:0` and a line's end.
async fn answers(stream: &mut TcpStream, buffer: &mut [u8]) -> Outcome<u64> {
    let read = stream.read(buffer).await?;
    let arrived = &buffer[..read];
    if read == 0 || arrived.iter().any(|byte| !b":0\r\n".contains(byte)) {
        return Err(format!("unexpected: {}", String::from_utf8_lossy(arrived)).into());
    }
    Ok(u64::try_from(arrived.iter().filter(|byte| **byte == b'\n').count())?)
}

#[expect(clippy::cast_precision_loss, reason = "a rate to print")]
fn rate(calls: u64, began: Instant) -> f64 {
    calls as f64 / began.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    let middle = rates.len() / 2;
    f64::midpoint(rates[middle], rates[(rates.len() - 1) / 2])
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it reports")]
async fn main() -> Outcome<()> {
    let url = std::env::var("TEST_REDIS_URL").map_err(|_| "TEST_REDIS_URL must be set")?;
    let calls = std::env::args().nth(1).map_or(Ok(CALLS), |text| text.parse())?;
    let address = url.trim_start_matches("redis://").trim_end_matches('/').to_owned();
    // A full pipeline makes single calls slow; what is measured here is not their bound.
    let options = RedisOptions { installer: true, call_ms_max: 5_000, ..RedisOptions::default() };
    let store = Arc::new(RedisStock::connect(&url, options)?);
    while store.ping().await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push(adapter(&store, Lot::open(&*store, &format!("a{round}")).await?, calls).await?);
        theirs.push(bare(&address, &Lot::open(&*store, &format!("b{round}")).await?, calls).await?);
        let i = ours.len() - 1;
        println!("round {round}: adapter {:.0}/s, bare client {:.0}/s", ours[i], theirs[i]);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("median: adapter {ours:.0}/s, bare client {theirs:.0}/s, ratio {:.2}", ours / theirs);
    Ok(())
}
