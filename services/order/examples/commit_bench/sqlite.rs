//! The ledger in a file.

use std::sync::Arc;
use std::time::Duration;

use order::order_store::{OrderStore, SqliteOptions, SqliteStore};
use service_kit::SystemClock;
use tokio::time::Instant;

use crate::usage::{cpu_ms, peak_mb};
use crate::{Failure, Plan, relay};

pub(crate) async fn run(plan: &Plan) -> Result<String, Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ledger.db");
    let store = SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock)).await?;
    plan.put_allocation(&store).await?;
    let (cpu, mut busy, mut taken) = (cpu_ms(), Duration::ZERO, 0);
    for batch in plan.batches() {
        let batch = batch?;
        let began = Instant::now();
        taken += store.commit_batch(&batch).await?.taken;
        relay(&store).await?;
        busy += began.elapsed();
    }
    let cpu = cpu_ms() - cpu;
    let findings = store.audit().await?;
    let taken = f64::from(u32::try_from(taken)?);
    Ok(format!(
        "sqlite: {taken} orders in batches of {}: {:.0}/s, {:.1} us CPU each, {} MB resident at most, {} findings",
        plan.batch,
        taken / busy.as_secs_f64(),
        f64::from(cpu) * 1000.0 / taken,
        peak_mb(),
        findings.len(),
    ))
}
