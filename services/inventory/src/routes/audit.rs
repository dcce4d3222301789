//! The stock side of the audit: I1 and I3. What is merely under way is no finding.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use contract::api::{Audit, Finding};
use contract::internal::AllocationView;
use domain::SaleId;
use futures_util::{StreamExt, TryStreamExt, stream};
use service_kit::http::ApiError;
use stock::Snapshot;
use tokio::time::sleep;

use super::App;
use crate::disagreements::is_consistent;

/// Between two looks at a sale whose sides disagree.
const LOOK_EVERY_MS: u64 = 300;
/// A disagreement counts once both sides have stood still for so many looks: longer than the outbox relay ever rests
/// between two attempts (2 s).
const STILL_LOOKS: u32 = 9;
/// Looks at a sale at most; one that does not stand still is under way.
const LOOKS_MAX: u32 = 20;

/// Sales examined at once: one that sells takes as long as all its looks.
const SALES_AT_ONCE: usize = 16;

/// `GET /internal/v1/audit`.
pub(super) async fn audit(State(app): State<App>) -> Result<Json<Audit>, ApiError> {
    let rows = app.inventory.sales.all().await?;
    let examined: Vec<_> = rows.iter().map(|row| examine(&app, &row.id)).collect();
    let findings: Vec<_> = stream::iter(examined).buffered(SALES_AT_ONCE).try_collect().await?;
    let findings = findings.concat();
    Ok(Json(Audit { ok: findings.is_empty(), findings }))
}

async fn examine(app: &App, sale: &SaleId) -> Result<Vec<Finding>, ApiError> {
    let (mut before, mut still) = (None, 0);
    for _ in 0..LOOKS_MAX {
        let (Some(allocation), snapshot) = app.inventory.both_sides(sale).await? else {
            return Ok(Vec::new());
        };
        let Some(snapshot) = snapshot else { return Ok(over_total(sale, &allocation)) };
        let at_rest = snapshot.reserved == 0 && is_consistent(&allocation, &snapshot);
        if at_rest {
            return Ok(over_total(sale, &allocation));
        }
        let now = (allocation.clone(), snapshot.reserved, snapshot.settled, snapshot.free);
        let stands_still = before.as_ref() == Some(&now) && snapshot.reserved == 0;
        still = if stands_still && app.inventory.is_idle(sale).await { still + 1 } else { 0 };
        if still >= STILL_LOOKS {
            return Ok(disagreement(sale, &allocation, &snapshot));
        }
        before = Some(now);
        sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
    }
    Ok(Vec::new())
}

impl crate::inventory::Inventory {
    /// Whether nothing of the sale is on its way through lane or event bus.
    async fn is_idle(&self, sale: &SaleId) -> bool {
        if self.rebuilding.lock().contains(sale) {
            return false;
        }
        let lane = usize::from(contract::lane::lane_of(sale, self.queue.lanes()));
        match self.queue.lane_stats().await {
            Ok(lanes) => lanes.get(lane).is_some_and(|l| l.depth == 0 && l.in_flight == 0),
            Err(_) => false,
        }
    }
}

fn over_total(sale: &SaleId, allocation: &AllocationView) -> Vec<Finding> {
    if allocation.counts.taken <= allocation.total {
        return Vec::new();
    }
    vec![Finding {
        invariant: "I1".into(),
        sale: Some(sale.clone()),
        detail: format!("taken {} of {} units", allocation.counts.taken, allocation.total),
    }]
}

fn disagreement(sale: &SaleId, allocation: &AllocationView, snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = over_total(sale, allocation);
    findings.push(Finding {
        invariant: "I3".into(),
        sale: Some(sale.clone()),
        detail: format!(
            "stock store: free {} + reserved {} + settled {} of {} (epoch {}); order store: taken {} of {} \
             (epoch {})",
            snapshot.free,
            snapshot.reserved,
            snapshot.settled,
            snapshot.total,
            snapshot.view.epoch.0,
            allocation.counts.taken,
            allocation.total,
            allocation.epoch.0
        ),
    });
    findings
}
