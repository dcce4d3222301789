//! Two replicas at once. A third connection holds a row until both wait for it, so that they meet for
//! certain: a lock or a condition that is missing loses every time, not now and then.

use contract::events::EventKind;
use contract::lane::LaneMessage;
use domain::{OrderStatus, ReservationId};
use futures_util::future::join;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Postgres, Transaction};
use tokio::time::{Duration, Instant, sleep};

use super::super::super::contract_suite::{buyer, fence, id, order, sale};
use super::super::rows;
use super::{Bench, CONNECTIONS, PostgresStore, fresh_pair};
use crate::order_store::{
    BatchOutcome, Cancelled, Capture, CaptureOutcome, LateCommit, OrderStore, PaymentBegun, Provenance,
};

/// How long the replicas may take to wait for each other.
const PATIENCE: Duration = Duration::from_secs(2);

/// Waits until `n` sessions of the database wait for a lock.
async fn until_waiting(observer: &mut PgConnection, n: i64) {
    let patience_ends = Instant::now() + PATIENCE;
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&mut *observer)
        .await
        .unwrap();
        if waiting >= n {
            return;
        }
        assert!(Instant::now() < patience_ends, "only {waiting} of {n} wait");
        sleep(Duration::from_millis(2)).await;
    }
}

/// What both come to if they meet at a row: `hold` locks it.
async fn meeting_at<A, B>(
    bench: &Bench,
    hold: &'static str,
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> (A, B) {
    let mut held = bench.connect().await;
    let mut observer = bench.connect().await;
    let mut tx: Transaction<'_, Postgres> = held.begin().await.unwrap();
    sqlx::query(hold).fetch_all(&mut *tx).await.unwrap();
    let release = async {
        until_waiting(&mut observer, 2).await;
        tx.rollback().await.unwrap();
    };
    let (both, ()) = join(join(first, second), release).await;
    both
}

const THE_ALLOCATION: &str = "select 1 from allocations for update";
const THE_ORDER: &str = "select 1 from orders for update";

async fn commit_both(
    total: u32,
    limit: u32,
    first: &[LaneMessage],
    second: &[LaneMessage],
) -> (Bench, BatchOutcome, BatchOutcome) {
    let (bench, other) = fresh_pair().await;
    let bench = bench.with_sale(total, limit).await;
    let (ours, theirs) =
        meeting_at(&bench, THE_ALLOCATION, bench.store.commit_batch(first), other.commit_batch(second)).await;
    (bench, ours.unwrap(), theirs.unwrap())
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn units_are_not_sold_twice() {
    let first: Vec<_> = (1..=3).map(|n| order(n, &format!("b{n}"), 1)).collect();
    let second: Vec<_> = (4..=6).map(|n| order(n, &format!("b{n}"), 1)).collect();
    let (bench, ours, theirs) = commit_both(4, 1, &first, &second).await;
    assert_eq!((ours.taken + theirs.taken, ours.rejected + theirs.rejected), (4, 2));
    assert_eq!(bench.taken().await, 4);
    bench.assert_sound().await;
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_buyers_limit_holds() {
    let (bench, ours, theirs) = commit_both(9, 2, &[order(1, "a", 2)], &[order(2, "a", 1)]).await;
    assert_eq!((ours.taken + theirs.taken, ours.rejected + theirs.rejected), (1, 1));
    bench.assert_sound().await;
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn an_order_counts_once() {
    let batch: Vec<_> = (1..=4).map(|n| order(n, &format!("b{n}"), 1)).collect();
    let (bench, ours, theirs) = commit_both(9, 1, &batch, &batch[1..]).await;
    assert_eq!((ours.taken + theirs.taken, ours.duplicates + theirs.duplicates), (4, 3));
    assert_eq!(bench.taken().await, 4);
    let told = bench.told_to_anybody().await;
    assert_eq!(told, vec![EventKind::OrderPlaced; told.len()]);
    assert_eq!(told.len(), [ours, theirs].iter().filter(|outcome| outcome.taken > 0).count());
    bench.assert_sound().await;
}

/// The order's row appears after the fence looked for it. Only another sale's lane could bring it then.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_fence_that_is_overtaken_tells_of_the_order_that_came() {
    let (bench, _other) = fresh_pair().await;
    let bench = bench.with_sale(9, 1).await;
    let (mut held, mut observer) = (bench.connect().await, bench.connect().await);
    let mut tx = held.begin().await.unwrap();
    sqlx::query(
        "insert into orders (id, quantity, amount_cents, created_at, pay_by, sale, buyer, currency, status)
         values ($1, 1, 1999, 0, 1, 'lamp', 'a', 'EUR', 'cancelled')",
    )
    .bind(rows::key(id(1)))
    .execute(&mut *tx)
    .await
    .unwrap();
    let (came, never) = (ReservationId::first(id(1)), ReservationId::first(id(2)));
    let batch = [fence(came, "a", 1), fence(never, "b", 1)];
    let it_comes = async {
        until_waiting(&mut observer, 1).await;
        tx.commit().await.unwrap();
    };
    let (fenced, ()) = join(bench.store.commit_batch(&batch), it_comes).await;
    assert_eq!(fenced.unwrap().fences, 2);
    assert_eq!(bench.status(1).await, OrderStatus::Cancelled, "left as it is");
    assert_eq!(
        bench.told().await,
        [
            (EventKind::OrderCancelled, vec![came.to_string()]),
            (EventKind::OrderRejected, vec![never.to_string()])
        ]
    );
}

/// An order committed by one replica, with a second replica beside it.
async fn one_order() -> (Bench, PostgresStore) {
    let (bench, other) = fresh_pair().await;
    let bench = bench.with_sale(1, 1).await;
    bench.commit(&[order(1, "a", 1)]).await;
    (bench, other)
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_payment_and_a_cancellation_have_one_winner() {
    let (bench, other) = one_order().await;
    let money = Bench::money("p1", 1, 1);
    let who = buyer("a");
    let (paid, cancelled) =
        meeting_at(&bench, THE_ORDER, bench.store.record_capture(&money), other.cancel(id(1), &who)).await;
    match (paid.unwrap(), cancelled.unwrap()) {
        (CaptureOutcome::Paid, Cancelled::NotCancellable(OrderStatus::Paid))
        | (CaptureOutcome::Refunded("not_payable"), Cancelled::Done(_)) => {}
        both => panic!("{both:?}"),
    }
    bench.assert_sound().await;
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn two_cancellations_give_the_units_back_once() {
    let (bench, other) = one_order().await;
    let who = buyer("a");
    let (ours, theirs) =
        meeting_at(&bench, THE_ORDER, bench.store.cancel(id(1), &who), other.cancel(id(1), &who)).await;
    let done = [ours.unwrap(), theirs.unwrap()];
    assert_eq!(done.iter().filter(|c| matches!(c, Cancelled::Done(_))).count(), 1, "{done:?}");
    assert_eq!(bench.taken().await, 0);
    bench.assert_sound().await;
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn two_refunds_pay_back_once() {
    let (bench, other) = one_order().await;
    bench.pay(1, "p1").await;
    let (ours, theirs) =
        meeting_at(&bench, THE_ORDER, bench.store.refund_order(id(1)), other.refund_order(id(1))).await;
    assert_ne!(ours.unwrap(), theirs.unwrap());
    assert_eq!((bench.taken().await, bench.refunds(1).await.len()), (0, 1));
    bench.assert_sound().await;
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_webhook_heard_twice_counts_once() {
    let (bench, other) = one_order().await;
    let money = Bench::money("p1", 1, 1);
    let again = Capture {
        provenance: Provenance::Webhook { event_id: "told-anew".into() },
        ..Bench::money("p1", 1, 1)
    };
    let (ours, theirs) =
        meeting_at(&bench, THE_ORDER, bench.store.record_capture(&money), other.record_capture(&again)).await;
    let mut both = [ours.unwrap(), theirs.unwrap()];
    both.sort_by_key(|outcome| *outcome == CaptureOutcome::Repeat);
    assert_eq!(both, [CaptureOutcome::Paid, CaptureOutcome::Repeat]);
    assert_eq!(bench.refunds(1).await, []);
    bench.assert_sound().await;
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn two_clicks_start_one_payment() {
    let (bench, other) = one_order().await;
    let who = buyer("a");
    let (ours, theirs) = meeting_at(
        &bench,
        THE_ORDER,
        bench.store.begin_payment(id(1), &who),
        other.begin_payment(id(1), &who),
    )
    .await;
    match (ours.unwrap(), theirs.unwrap()) {
        (PaymentBegun::Started(one), PaymentBegun::UnderWay(other))
        | (PaymentBegun::UnderWay(other), PaymentBegun::Started(one)) => assert_eq!(one, other),
        both => panic!("{both:?}"),
    }
    let history = bench.store.order_history(id(1)).await.unwrap().unwrap();
    assert_eq!(history.payments.len(), 1);
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_late_payment_is_settled_by_one_replica() {
    let (bench, other) = one_order().await;
    bench.pass_deadline().await;
    assert_eq!(bench.pay(1, "p1").await, CaptureOutcome::Late);
    let epoch = bench.epoch().await;
    let (ours, theirs) =
        meeting_at(&bench, THE_ORDER, bench.store.commit_late("p1", epoch), other.commit_late("p1", epoch))
            .await;
    let mut both = [ours.unwrap(), theirs.unwrap()];
    both.sort_by_key(|outcome| *outcome == LateCommit::Settled);
    assert_eq!(both, [LateCommit::Paid, LateCommit::Settled]);
    assert_eq!((bench.taken().await, bench.refunds(1).await.len()), (1, 0));
    bench.assert_sound().await;
}

/// The timeout jobs of many replicas share the work; none waits for another, or for a payment.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn the_timeout_job_passes_by_what_another_replica_is_changing() {
    let (bench, _other) = fresh_pair().await;
    let bench = bench.with_sale(9, 1).await;
    bench.commit(&[order(1, "a", 1), order(2, "b", 1)]).await;
    bench.pass_deadline().await;
    let mut held = bench.connect().await;
    let mut tx = held.begin().await.unwrap();
    sqlx::query("select 1 from orders where buyer = 'a' for update").fetch_all(&mut *tx).await.unwrap();
    assert_eq!(bench.store.expire(&[id(1), id(2)]).await.unwrap(), 1, "the other's, without waiting");
    tx.rollback().await.unwrap();
    assert_eq!(bench.store.expire(&[id(1), id(2)]).await.unwrap(), 1);
    bench.assert_sound().await;
}

/// What the server tells the one that it has chosen.
const DEADLOCK: &str = "40P01";
/// How often the scene below is played. The server lets whoever has waited for a second look for a ring, once, and ends
/// the one who finds it: the test itself, if it was kept from closing the ring for that long.
const ROUNDS_MAX: u32 = 10;

/// Whoever is chosen to break a ring of waiting transactions tries again.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_transaction_lost_to_a_deadlock_is_made_again() {
    for _ in 0..ROUNDS_MAX {
        let (bench, _other) = one_order().await;
        let (mut held, mut observer) = (bench.connect().await, bench.connect().await);
        let mut tx = held.begin().await.unwrap();
        sqlx::query(THE_ALLOCATION).fetch_all(&mut *tx).await.unwrap();
        // It holds the order and waits for the allocation; this side does it the other way round.
        let who = buyer("a");
        let close_the_ring = async {
            until_waiting(&mut observer, 1).await;
            let closed = sqlx::query(THE_ORDER).fetch_all(&mut *tx).await;
            tx.rollback().await.unwrap();
            closed
        };
        let (cancelled, closed) = join(bench.store.cancel(id(1), &who), close_the_ring).await;
        assert!(matches!(cancelled, Ok(Cancelled::Done(_))), "{cancelled:?}");
        bench.assert_sound().await;
        let Err(error) = closed else { return };
        let code = error.as_database_error().and_then(|e| e.code());
        assert_eq!(code.as_deref(), Some(DEADLOCK), "{error}");
    }
    panic!("the store was never the one that was chosen");
}

/// A gateway that had no confirm in time sends an order once more, and it comes between others; its buyer is cancelling
/// it meanwhile.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_batch_waits_for_nobody_who_changes_an_order_that_comes_again() {
    for change in ["update orders set status = 'cancelled'", "update orders set reason = reason"] {
        let (bench, _other) = fresh_pair().await;
        let bench = bench.with_sale(9, 1).await;
        assert_eq!(bench.commit(&[order(2, "b", 1)]).await.taken, 1);
        let mut held = bench.connect().await;
        let mut tx = held.begin().await.unwrap();
        sqlx::query(change).execute(&mut *tx).await.unwrap();
        let batch = [order(1, "a", 1), order(2, "b", 1), order(3, "c", 1)];
        let outcome = bench.store.commit_batch(&batch).await.unwrap();
        assert_eq!((outcome.taken, outcome.duplicates), (2, 1));
        tx.rollback().await.unwrap();
        bench.assert_sound().await;
    }
}

/// A replica that was stopped in the middle of a transaction keeps others from the sale, not for ever; and
/// that is no fault of the messages that wait.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_row_that_is_not_let_go_is_an_outage() {
    let (bench, _other) = fresh_pair().await;
    let bench = bench.with_sale(2 * CONNECTIONS, 1).await;
    let mut held = bench.connect().await;
    let mut tx = held.begin().await.unwrap();
    sqlx::query(THE_ALLOCATION).fetch_all(&mut *tx).await.unwrap();
    let outcome = bench.store.commit_batch(&[order(1, "a", 1)]).await;
    assert!(outcome.as_ref().is_err_and(crate::order_store::StoreError::is_outage), "{outcome:?}");
    tx.rollback().await.unwrap();
    // Whichever connection is next, also the one that did not get its lock.
    for n in 1..=2 * CONNECTIONS {
        assert_eq!(bench.commit(&[order(n, &format!("a{n}"), 1)]).await.taken, 1);
    }
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn who_does_not_wait_for_an_answer_leaves_no_row_locked() {
    let (bench, _other) = fresh_pair().await;
    let bench = bench.with_sale(9, 1).await;
    let mut held = bench.connect().await;
    let mut tx = held.begin().await.unwrap();
    sqlx::query(THE_ALLOCATION).fetch_all(&mut *tx).await.unwrap();
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    let batch = [order(1, "a", 1)];
    {
        let mut given_up = std::pin::pin!(bench.store.commit_batch(&batch));
        let mut watch = bench.connect().await;
        loop {
            tokio::select! {
                done = &mut given_up => panic!("the row is held: {done:?}"),
                found = sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watch) => {
                    if found.unwrap() > 0 { break }
                }
            }
        }
    }
    tx.rollback().await.unwrap();
    assert_eq!(bench.commit(&batch).await.taken, 1, "the row was locked for nobody");
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn lost_connections_and_a_server_that_only_reads_are_outages() {
    let (bench, _other) = fresh_pair().await;
    let bench = bench.with_sale(9, 1).await;
    let mut admin = bench.connect().await;
    let all_but_this = "select pg_terminate_backend(pid) from pg_stat_activity
                        where datname = current_database() and pid <> pg_backend_pid()";
    sqlx::query(all_but_this).fetch_all(&mut admin).await.unwrap();
    assert_eq!(bench.commit(&[order(1, "a", 1)]).await.taken, 1, "lost while idle: nobody notices");
    let set = "do $$ begin execute format('alter database %I set default_transaction_read_only = on',
               current_database()); end $$";
    sqlx::query(set).execute(&mut admin).await.unwrap();
    sqlx::query(all_but_this).fetch_all(&mut admin).await.unwrap();
    let outcome = bench.store.commit_batch(&[order(2, "b", 1)]).await;
    assert!(outcome.as_ref().is_err_and(crate::order_store::StoreError::is_outage), "{outcome:?}");
    // Whoever reads first on a connection that was lost just now meets the loss; each only once.
    let mut read = bench.store.allocation(&sale()).await;
    for _ in 0..CONNECTIONS {
        if read.is_err() {
            read = bench.store.allocation(&sale()).await;
        }
    }
    assert!(read.unwrap().is_some(), "what is read is still answered");
}
