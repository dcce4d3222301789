//! Which index answers what, whatever moment the server's statistics are of: tables grow, and change, between two rounds
//! of them.

use sqlx::{AssertSqlSafe, Executor};

use super::super::{late, reads, snapshot, unreported, work};
use super::fresh_pair;

/// Statements, parameters for them, and the index that must answer.
const STATEMENTS: [(&str, &str, &str); 12] = [
    (snapshot::PAGE, "'lamp', '00000000-0000-0000-0000-000000000000', 500", "orders_live"),
    (reads::OVERDUE, "500, false", "orders_due"),
    (unreported::DUE, "64", "payments_to_ask"),
    (late::DUE, "32", "payments_late"),
    (work::REFUNDS, "64", "refunds_requested"),
    (work::BACKLOG, "", "refunds_requested"),
    (work::BACKLOG, "", "payments_late"),
    // One row, by its key: no index of some rows is walked for it.
    (
        "update orders set status = 'paid' where id = $1 and status = 'pending_payment' and pay_by > 0",
        "'00000000-0000-0000-0000-000000000001'",
        "orders_pkey",
    ),
    (
        "update payments set status = 'failed' where reference = $1 and status = 'started'",
        "'p1'",
        "payments_pkey",
    ),
    ("select 1 from payments where reference = $1 and outcome = 'late' for update", "'p1'", "payments_pkey"),
    (
        "update refunds set status = 'done' where reference = $1 and status = 'requested'",
        "'p1'",
        "refunds_pkey",
    ),
    (
        "select sum(quantity) from orders
         where buyer = any($1) and sale = any($2) and status in ('pending_payment', 'paid')",
        "'{b1,b2,b3}', '{lamp}'",
        "orders_by_buyer",
    ),
];

/// What happens to the tables, step by step.
const STEPS: [(&str, &str); 5] = [
    ("they are empty", "select 1"),
    (
        "other sales were there",
        "insert into orders (id, quantity, amount_cents, created_at, pay_by, sale, buyer, currency, status)
         select gen_random_uuid(), 1, 1999, 1, n, 'other-' || n % 7, 'o' || n, 'EUR',
             case when n % 3 = 0 then 'expired' else 'paid' end
         from generate_series(1, 20000) n;
         insert into payments (reference, order_id, amount_cents, currency, status, outcome, created_at)
         select 'o' || n, gen_random_uuid(), 1999, 'EUR', 'captured', 'applied', 1 from generate_series(1, 20000) n;
         insert into refunds (reference, reason, status, amount_cents, currency, created_at, next_at)
         select 'o' || n, 'any', 'done', 1999, 'EUR', 1, 1 from generate_series(1, 20000) n",
    ),
    ("the statistics are of a quiet moment", "analyze orders; analyze payments; analyze refunds"),
    (
        "a sale is on",
        "insert into orders (id, quantity, amount_cents, created_at, pay_by, sale, buyer, currency, status)
         select gen_random_uuid(), 1, 1999, 1, n, 'lamp', 'b' || n, 'EUR', 'pending_payment'
         from generate_series(1, 20000) n;
         insert into payments (reference, order_id, amount_cents, currency, status, created_at, ask_at)
         select 'p' || n, gen_random_uuid(), 1999, 'EUR', 'started', 1, 1 from generate_series(1, 20000) n;
         insert into payments (reference, order_id, amount_cents, currency, status, outcome, created_at,
             late_since, late_next_at)
         select 'l' || n, gen_random_uuid(), 1999, 'EUR', 'captured', 'late', 1, 1, 1
         from generate_series(1, 20000) n;
         insert into refunds (reference, reason, status, amount_cents, currency, created_at, next_at)
         select 'p' || n, 'any', 'requested', 1999, 'EUR', 1, 1 from generate_series(1, 20000) n",
    ),
    ("the statistics are of the sale", "analyze orders; analyze payments; analyze refunds"),
];

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn every_statement_keeps_to_its_index_whatever_the_statistics_say() {
    let (_bench, store) = fresh_pair().await;
    // With the bounds and the planner's settings of every session.
    let mut conn = store.pool.acquire().await.unwrap();
    for (n, (statement, _, _)) in STATEMENTS.iter().enumerate() {
        conn.execute(AssertSqlSafe(format!("prepare s{n} as {statement}"))).await.unwrap();
    }
    for (when, step) in STEPS {
        conn.execute(step).await.unwrap();
        for mode in ["force_custom_plan", "force_generic_plan"] {
            conn.execute(AssertSqlSafe(format!("set plan_cache_mode = {mode}"))).await.unwrap();
            for (n, (statement, parameters, index)) in STATEMENTS.iter().enumerate() {
                let parameters =
                    if parameters.is_empty() { String::new() } else { format!("({parameters})") };
                let explain = AssertSqlSafe(format!("explain (costs off) execute s{n}{parameters}"));
                let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut *conn).await.unwrap();
                let plan = plan.join("\n");
                assert!(plan.contains(index), "{when}, {mode}: {statement}\n{plan}");
            }
        }
    }
}
