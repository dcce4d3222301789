//! The audit: every invariant of the ledger recomputed from its rows, in one repeatable read.

use contract::api::Finding;
use contract::internal::AUDIT_MS_MAX;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::rows;
use crate::order_store::StoreError;

/// Findings of one kind that are listed; beyond that more of the same tells nothing new.
const FINDINGS_MAX: i64 = 50;

/// Each query answers `sale` (or null) and `detail` for what does not hold; its parameter is a limit.
const CHECKS: [(&str, &str); 8] = [
    (
        "I1",
        "select sale, 'taken ' || taken || ' of ' || total as detail from allocations where taken > total limit $1",
    ),
    (
        "I1",
        "select a.sale, 'counted taken ' || a.taken || ', rows say ' || coalesce(o.taken, 0) as detail
         from allocations a left join (
             select sale, sum(quantity) filter (where status in ('pending_payment', 'paid')) as taken
             from orders group by sale) o on o.sale = a.sale
         where a.taken <> coalesce(o.taken, 0) limit $1",
    ),
    (
        "I1",
        "select a.sale, 'counted ' || a.pending_payment || '/' || a.paid || '/' || a.cancelled || '/' || a.expired
             || '/' || a.rejected || '/' || a.refunded || ' orders, rows say otherwise' as detail
         from allocations a left join (
             select sale, count(*) filter (where status = 'pending_payment') as pending,
                 count(*) filter (where status = 'paid') as paid,
                 count(*) filter (where status = 'cancelled') as cancelled,
                 count(*) filter (where status = 'expired') as expired,
                 count(*) filter (where status = 'rejected') as rejected,
                 count(*) filter (where status = 'refunded') as refunded
             from orders group by sale) o on o.sale = a.sale
         where (a.pending_payment, a.paid, a.cancelled, a.expired, a.rejected, a.refunded) <>
             (coalesce(o.pending, 0), coalesce(o.paid, 0), coalesce(o.cancelled, 0), coalesce(o.expired, 0),
              coalesce(o.rejected, 0), coalesce(o.refunded, 0)) limit $1",
    ),
    (
        "I4",
        "select o.sale, 'buyer ' || o.buyer || ' holds ' || sum(o.quantity) || ' of at most ' || a.per_user_limit
             as detail
         from orders o join allocations a on a.sale = o.sale
         where o.status in ('pending_payment', 'paid')
         group by o.buyer, o.sale, a.per_user_limit having sum(o.quantity) > a.per_user_limit limit $1",
    ),
    (
        "I5",
        "select o.sale, 'payment ' || p.reference || ' is captured, its outcome is ' || coalesce(p.outcome, 'none')
             || ', its order ' || coalesce(o.status, 'unknown') as detail
         from payments p left join orders o on o.id = p.order_id
         left join refunds r on r.reference = p.reference
         where p.status = 'captured' and not coalesce(
             (p.outcome = 'applied' and o.status = 'paid' and r.reference is null)
             or (p.outcome = 'refunded' and r.reference is not null)
             or (p.outcome = 'late' and r.reference is null), false) limit $1",
    ),
    (
        "I5",
        "select o.sale, 'a paid order has ' || count(p.reference) || ' payments applied' as detail
         from orders o left join payments p on p.order_id = o.id and p.outcome = 'applied'
         where o.status = 'paid' group by o.id having count(p.reference) <> 1 limit $1",
    ),
    (
        "I5",
        "select o.sale, 'refund ' || r.reference || ' of ' || r.amount_cents || ' ' || r.currency
             || ' has no such capture' as detail
         from refunds r left join payments p on p.reference = r.reference left join orders o on o.id = r.order_id
         where p.reference is null or p.status <> 'captured' or p.amount_cents <> r.amount_cents
             or p.currency <> r.currency limit $1",
    ),
    (
        "I5",
        "select o.sale, 'payment ' || p.reference || ' of ' || p.amount_cents || ' ' || p.currency
             || ' paid an order of ' || o.amount_cents || ' ' || o.currency as detail
         from payments p join orders o on o.id = p.order_id
         where p.outcome = 'applied' and (p.amount_cents <> o.amount_cents or p.currency <> o.currency) limit $1",
    ),
];

// Postgres is told the bound too.
const _: () = assert!(AUDIT_MS_MAX == 120_000);
/// Opens the transaction. An audit reads everything, so it may take its time and its own ways.
const BEGIN: &str = "begin isolation level repeatable read read only;
    set local statement_timeout = 120000; set local enable_seqscan = on;
    set local enable_hashjoin = on; set local enable_mergejoin = on";

/// What does not hold.
pub(super) async fn findings(conn: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    let mut tx = conn.begin_with(BEGIN).await?;
    let mut findings = Vec::new();
    for (invariant, check) in CHECKS {
        let found = sqlx::query(check).bind(FINDINGS_MAX).fetch_all(&mut *tx).await?;
        for row in &found {
            findings.push(finding(invariant, row)?);
        }
    }
    Ok(findings)
}

fn finding(invariant: &str, row: &PgRow) -> Result<Finding, StoreError> {
    let sale: Option<&str> = row.try_get("sale")?;
    let sale = if sale.is_some() { Some(rows::text(row, "sale")?) } else { None };
    Ok(Finding { invariant: invariant.into(), sale, detail: row.try_get("detail")? })
}
