//! The ledger in Postgres, batch by batch beside a bare client in a database of its own on the same server.

use std::time::Duration;

use order::order_store::{OrderStore, PostgresStore};
use service_kit::postgres::TestDatabase;
use tokio::time::Instant;

use crate::bare::Bare;
use crate::usage::cpu_ms;
use crate::{Failure, Plan, relay};

/// Batches in one turn; the two take turns, so that whatever else the machine does hits both.
const TURN_BATCHES: usize = 8;
const CONNECTIONS: u32 = 4;

/// The time one of the two took.
#[derive(Default)]
struct Tally {
    busy: Duration,
    slowest: Duration,
    cpu_ms: u32,
}

impl Tally {
    async fn time(&mut self, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        let (began, cpu) = (Instant::now(), cpu_ms());
        work.await?;
        self.slowest = self.slowest.max(began.elapsed());
        self.busy += began.elapsed();
        self.cpu_ms += cpu_ms() - cpu;
        Ok(())
    }

    fn line(&self, who: &str, orders: f64) -> String {
        format!(
            "{who}: {:.0}/s, slowest batch {} ms, {:.1} us CPU of the client each",
            orders / self.busy.as_secs_f64(),
            self.slowest.as_millis(),
            f64::from(self.cpu_ms) * 1000.0 / orders,
        )
    }
}

pub(crate) async fn run(plan: &Plan) -> Result<String, Failure> {
    let (ours, bares) = (TestDatabase::create().await, TestDatabase::create().await);
    let store = PostgresStore::open(&ours.url(), CONNECTIONS).await?;
    plan.put_allocation(&store).await?;
    plan.put_allocation(&PostgresStore::open(&bares.url(), 1).await?).await?;
    let mut bare = Bare::new(bares.connect().await);
    let (mut adapter, mut client) = (Tally::default(), Tally::default());
    let batches: Vec<_> = plan.batches().collect::<Result<_, _>>()?;
    let sale = plan.sale.as_str();
    for turn in batches.chunks(TURN_BATCHES) {
        for batch in turn {
            let commit = async {
                let taken = store.commit_batch(batch).await?.taken;
                assert_eq!(taken, batch.len() as u64, "every order is new and fits");
                Ok(())
            };
            adapter.time(commit).await?;
            relay(&store).await?;
        }
        for batch in turn {
            client.time(bare.commit(sale, batch)).await?;
            bare.clear().await?;
        }
    }
    let findings = store.audit().await?;
    let orders = f64::from(u32::try_from(plan.orders)?);
    Ok(format!(
        "postgres: {orders} orders in batches of {}, commit only, taking turns\n{}\n{}\nadapter / bare = {:.2}, {} findings",
        plan.batch,
        adapter.line("adapter", orders),
        client.line("bare client", orders),
        client.busy.as_secs_f64() / adapter.busy.as_secs_f64(),
        findings.len(),
    ))
}
