//! How fast the ledger commits batches of a lane, synced on every commit: in a SQLite file and, where
//! `TEST_POSTGRES_URL` names a server, in Postgres beside a bare client that writes the same.
//!
//! `cargo run --release -p order --example commit_bench [orders] [batch]`

mod bare;
mod postgres;
mod sqlite;
mod usage;

use std::process::ExitCode;

use contract::internal::PutAllocation;
use contract::lane::{LaneMessage, OrderMessage};
use domain::{Clock, Epoch, OrderId, SaleId, UnixMillis};
use order::order_store::OrderStore;
use service_kit::SystemClock;

const ORDERS: usize = 400_000;
const BATCH: usize = 500;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is committed.
struct Plan {
    orders: usize,
    batch: usize,
    sale: SaleId,
    start: UnixMillis,
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "its figures are its output")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let orders = arguments.next().and_then(Result::ok).unwrap_or(ORDERS);
    let batch = arguments.next().and_then(Result::ok).unwrap_or(BATCH).max(1);
    // On a thread of the runtime, where the service's consumers are too.
    match tokio::spawn(run(orders, batch)).await.unwrap_or_else(|e| Err(e.into())) {
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

async fn run(orders: usize, batch: usize) -> Result<String, Failure> {
    let plan = Plan { orders, batch, sale: "bench".parse()?, start: SystemClock.now() };
    if std::env::var_os("TEST_POSTGRES_URL").is_some() {
        return postgres::run(&plan).await;
    }
    sqlite::run(&plan).await
}

impl Plan {
    async fn put_allocation(&self, store: &dyn OrderStore) -> Result<(), Failure> {
        let put = PutAllocation {
            total: u32::try_from(self.orders)?,
            total_version: 1,
            price_cents: 1_999,
            currency: "EUR".into(),
            per_user_limit: 1,
            pay_within_s: 600,
        };
        store.put_allocation(&self.sale, &put).await?;
        Ok(())
    }

    /// The batches, in lane order.
    fn batches(&self) -> impl Iterator<Item = Result<Vec<LaneMessage>, Failure>> {
        let firsts = (0..self.orders).step_by(self.batch);
        firsts.map(|first| {
            let last = (first + self.batch).min(self.orders);
            (first..last).map(|n| Ok(LaneMessage::Order(self.order(n)?))).collect()
        })
    }

    fn order(&self, n: usize) -> Result<OrderMessage, Failure> {
        let n = u32::try_from(n)?;
        // Buyers come in no order, as in life.
        let buyer = format!("buyer-{:08x}", n.wrapping_mul(2_654_435_761));
        let mut random = [7; 10];
        random[6..].copy_from_slice(&n.to_be_bytes());
        Ok(OrderMessage {
            order: OrderId::mint(self.start.plus(i64::from(n / 12)), random),
            sale: self.sale.clone(),
            buyer: buyer.parse()?,
            quantity: 1,
            epoch: Epoch(1),
            reserved_at: self.start,
        })
    }
}

/// The relay's half of the work: told, and out of the outbox.
async fn relay(store: &dyn OrderStore) -> Result<(), Failure> {
    let rows = store.outbox(16).await?;
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    store.outbox_told(&seqs).await?;
    Ok(())
}
