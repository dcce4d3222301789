//! Between reserve and 202: duplicates, lost confirms, lost stock.

use std::sync::Arc;
use std::time::Duration;

use contract::events::{Change, SaleNews};
use domain::{OrderId, OrderStatus, ReservationId, UnixMillis};
use serde_json::json;
use stock::{Peek, ReserveOutcome, StockStore};

use crate::support::app::{BUY, fill, sale_id};
use crate::support::http::post_at_once;
use crate::support::queue::Fate;
use crate::support::{App, NOW, Options, until};

async fn all_at_once(app: &Arc<App>, ticket: &str, n: usize) -> Vec<crate::support::Answer> {
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let (app, ticket) = (app.clone(), ticket.to_owned());
            tokio::spawn(async move { app.order("alice", &ticket, 1).await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ticket_sent_a_hundred_times_at_once_is_one_order() {
    for round in 0..5 {
        // The last unit, and after the ticket one request is left to the buyer.
        let settings = vec![("SECKILL_BUYER_LIMIT", "2/3600")];
        let app = Arc::new(App::with(Options { stock: 1, settings, ..Options::default() }).await);
        let (ticket, order) = app.ticket("alice").await;
        let answers = all_at_once(&app, &ticket, 100).await;
        for answer in answers {
            assert_eq!(answer.ok(202).json()["order_id"], order.to_string(), "round {round}");
        }
        assert_eq!((app.reservations(), app.published()), (1, 1), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn duplicates_wait_for_the_first_and_share_its_work() {
    let settings = vec![("SECKILL_PUBLISH_WAIT_MS", "60000")];
    let app = Arc::new(App::with(Options { settings, ..Options::default() }).await);
    app.queue.gate.forget_permits(usize::MAX);
    let (ticket, _) = app.ticket("alice").await;
    let answers = tokio::spawn({
        let (app, ticket) = (app.clone(), ticket.clone());
        async move { all_at_once(&app, &ticket, 50).await }
    });
    until("the first", async || (app.reservations() == 1).then_some(())).await;
    app.queue.gate.add_permits(50);
    answers.await.unwrap().into_iter().for_each(|answer| {
        answer.ok(202);
    });
    assert_eq!(app.stock.reserves.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert_eq!(app.published(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ticket_sent_again_by_the_hundred_is_one_look_at_its_order_at_a_time() {
    let app = Arc::new(App::start().await);
    let (ticket, order) = app.buy("alice").await;
    let (_, bobs) = app.buy("bob").await;
    app.settle(order, "alice", OrderStatus::PendingPayment).await;
    app.settle(bobs, "bob", OrderStatus::Paid).await;
    let read = |buyer: String, order: OrderId| {
        let app = app.clone();
        let path = format!("/api/v1/orders/{order}");
        tokio::spawn(async move { app.public.get(&path, Some(&app.token(&buyer))).await.status })
    };
    let kept_back = app.behind.readers.write().await;
    let url = format!("http://{}{BUY}/orders", app.address);
    let again = json!({ "ticket": ticket, "quantity": 1 });
    let again = post_at_once(&url, &app.token("alice"), &again, 600);
    until("a look", async || (app.behind.looks_at(order) > 0).then_some(())).await;
    // There are more of them than the gateway may have calls at work: others would be refused, and most of these.
    let others = read("bob".into(), bobs);
    until("the other buyer's look", async || (app.behind.looks_at(bobs) == 1).then_some(())).await;
    // Looks at many orders are many.
    let strangers: Vec<_> = (0..20_u8).map(|n| OrderId::mint(UnixMillis(NOW), [n; 10])).collect();
    let reads: Vec<_> = (0..20).map(|n| read(format!("stranger-{n}"), strangers[n])).collect();
    let all = || strangers.iter().map(|order| app.behind.looks_at(*order)).sum::<usize>();
    until("all of them at once", async || (all() == 20).then_some(())).await;
    assert_eq!(app.behind.looks_at(order), 1);
    drop(kept_back);
    assert!(again.join_all().await.iter().all(|status| *status == 202));
    assert_eq!(others.await.unwrap(), 200);
    for read in reads {
        assert_eq!(read.await.unwrap(), 404);
    }
}

#[tokio::test]
async fn an_accepted_ticket_answers_its_202_again_without_asking_the_stock_to_reserve() {
    let app = App::with(Options { stock: 1, ..Options::default() }).await;
    let (ticket, order) = app.buy("alice").await;
    app.broadcast(1, 9, SaleNews::SoldOut);
    until("sold out", async || (app.ticket_answer("bob").await.status == 409).then_some(())).await;
    let reserves = app.stock.reserves.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(app.order("alice", &ticket, 1).await.ok(202).json()["status"], "queued");
    app.settle(order, "alice", OrderStatus::PendingPayment).await;
    assert_eq!(app.order("alice", &ticket, 1).await.ok(202).json()["status"], "pending_payment");
    app.row(order, "alice", OrderStatus::Expired);
    assert_eq!(app.order("alice", &ticket, 1).await.ok(202).json()["status"], "expired");
    assert_eq!(app.stock.reserves.load(std::sync::atomic::Ordering::SeqCst), reserves);
    assert_eq!(app.published(), 1);
}

#[tokio::test]
async fn a_failed_publish_is_a_503_and_the_same_ticket_keeps_its_place() {
    let app = App::with(Options { stock: 1, ..Options::default() }).await;
    let (ticket, order) = app.ticket("alice").await;
    app.queue.fates.lock().extend([Fate::Full]);
    app.order("alice", &ticket, 1).await.refused("unavailable");
    let kept = app.stock.peek(&sale_id(), ReservationId::first(order)).await.unwrap();
    assert!(matches!(kept, Peek::Reserved(_)), "the reservation stays: {kept:?}");
    assert_eq!(app.stock.releases.load(std::sync::atomic::Ordering::SeqCst), 0, "there is no abandon");
    // Meanwhile the sale is sold out for everybody else.
    let (other, _) = match app.ticket_answer("bob").await {
        answer if answer.status == 200 => (answer.json()["ticket"].as_str().unwrap().to_owned(), ()),
        answer => (answer.refused("sold_out").code, ()),
    };
    app.order("bob", &other, 1).await;
    app.broadcast(1, 50, SaleNews::SoldOut);
    until("the flag", async || (app.order("bob", "x", 1).await.status == 409).then_some(())).await;
    app.order("alice", &ticket, 1).await.ok(202);
    assert_eq!(app.reservations(), 1);
}

#[tokio::test]
async fn a_missing_confirm_is_asked_for_once_more_under_the_same_id() {
    let app = App::start().await;
    for lost in [Fate::Unconfirmed, Fate::Hang] {
        app.queue.published.lock().clear();
        app.queue.fates.lock().extend([lost]);
        let (ticket, order) = app.ticket("alice").await;
        app.order("alice", &ticket, 1).await.ok(202);
        let published: Vec<_> = app.queue.published.lock().iter().map(|m| m.order).collect();
        assert_eq!(published, [order, order], "{lost:?}");
    }
}

#[tokio::test]
async fn two_missing_confirms_are_a_503_within_the_bound() {
    let app = App::start().await;
    for lost in [Fate::Unconfirmed, Fate::Hang] {
        app.queue.published.lock().clear();
        app.queue.fates.lock().extend([lost, lost]);
        let (ticket, _) = app.ticket("alice").await;
        let started = tokio::time::Instant::now();
        app.order("alice", &ticket, 1).await.refused("unavailable");
        assert!(started.elapsed() < Duration::from_secs(2), "{lost:?}");
        assert_eq!(app.published(), 2, "once more, not again and again");
        app.order("alice", &ticket, 1).await.ok(202);
        let order = app.queue.published.lock()[2].order;
        app.stock.release(&sale_id(), ReservationId::first(order)).await.unwrap();
    }
}

#[tokio::test]
async fn a_confirm_under_a_newer_epoch_is_no_202() {
    let app = Arc::new(
        App::with(Options { settings: vec![("SECKILL_PUBLISH_WAIT_MS", "60000")], ..Options::default() })
            .await,
    );
    // Told by a broadcast only: the store still shows the old state.
    app.queue.gate.forget_permits(usize::MAX);
    let (ticket, _) = app.ticket("alice").await;
    let placing = tokio::spawn({
        let (app, ticket) = (app.clone(), ticket.clone());
        async move { app.order("alice", &ticket, 1).await }
    });
    until("the reservation", async || (app.reservations() == 1).then_some(())).await;
    app.stock.inner.lose_everything();
    fill(&app.stock, 2, 0, 10).await;
    app.broadcast(2, 1, SaleNews::Opened);
    until("the news", async || {
        let (ticket, _) = app.ticket("bob").await;
        let keys = crate::support::app::TICKET_KEYS.parse().unwrap();
        let claims = gateway::tickets::Presented::parse(&ticket).unwrap().verify(&keys).unwrap();
        (claims.epoch.0 == 2).then_some(())
    })
    .await;
    app.queue.gate.add_permits(1);
    placing.await.unwrap().refused("unavailable");
}

#[tokio::test]
async fn stock_lost_between_reserve_and_confirm_is_no_202() {
    let app = App::start().await;
    let (ticket, _) = app.ticket("alice").await;
    *app.stock.after_reserve.lock() = Some(Box::new(|stock| stock.lose_everything()));
    // The view is at most 50 ms old when it counts, so the publish takes longer than that.
    app.queue.fates.lock().extend([Fate::Hang]);
    app.order("alice", &ticket, 1).await.refused("unavailable");
}

#[tokio::test]
async fn a_finished_reservation_without_a_row_is_unknown_and_with_one_it_is_told() {
    let app = App::start().await;
    let (ticket, order) = app.ticket("alice").await;
    app.stock.script.lock().push(ReserveOutcome::Released);
    app.order("alice", &ticket, 1).await.refused("unavailable");
    app.row(order, "alice", OrderStatus::Cancelled);
    app.stock.script.lock().push(ReserveOutcome::Released);
    assert_eq!(app.order("alice", &ticket, 1).await.ok(202).json()["status"], "cancelled");
    let (bobs, _) = app.ticket("bob").await;
    app.stock.script.lock().push(ReserveOutcome::SoldOut(Change { epoch: 1, n: 5 }));
    app.order("bob", &bobs, 1).await.refused("sold_out");
}

#[tokio::test]
async fn nothing_is_published_for_a_reservation_whose_ticket_has_run_out() {
    let app = App::start().await;
    let (ticket, order) = app.ticket("alice").await;
    app.queue.fates.lock().extend([Fate::Full]);
    app.order("alice", &ticket, 1).await.refused("unavailable");
    let asked = app.published();
    // The outage outlasts the ticket: its fence may be in the lane by now, and a message would come behind it.
    app.stock.script.lock().push(ReserveOutcome::Overdue);
    app.order("alice", &ticket, 1).await.refused("unavailable");
    assert_eq!(app.published(), asked);
    app.row(order, "alice", OrderStatus::Rejected);
    app.stock.script.lock().push(ReserveOutcome::Overdue);
    assert_eq!(app.order("alice", &ticket, 1).await.ok(202).json()["status"], "rejected", "it is told so");
    assert_eq!(app.published(), asked);
}

#[tokio::test]
async fn a_confirm_counts_from_before_the_reservation() {
    let settings = vec![("SECKILL_PUBLISH_WAIT_MS", "200")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let (ticket, _) = app.ticket("alice").await;
    // The gateway stands still right after its reservation, for longer than a ticket's publish may take.
    *app.stock.after_reserve.lock() = Some(Box::new(|_| stand_still(Duration::from_millis(300))));
    app.order("alice", &ticket, 1).await.refused("unavailable");
    assert_eq!(app.published(), 0);
    app.order("alice", &ticket, 1).await.ok(202);
}

/// What a stopped process does.
#[expect(clippy::disallowed_methods, reason = "the whole point is that nothing else runs meanwhile")]
fn stand_still(time: Duration) {
    std::thread::sleep(time);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_ticket_that_still_works() {
    use tokio::io::AsyncWriteExt;
    let app = Arc::new(
        App::with(Options {
            stock: 1,
            settings: vec![("SECKILL_PUBLISH_WAIT_MS", "60000")],
            ..Options::default()
        })
        .await,
    );
    app.queue.gate.forget_permits(usize::MAX);
    let (ticket, _) = app.ticket("alice").await;
    let body = format!(r#"{{"ticket":"{ticket}","quantity":1}}"#);
    let head = format!(
        "POST {}/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        BUY,
        app.token("alice"),
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(app.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    until("the reservation", async || (app.reservations() == 1).then_some(())).await;
    drop(stream);
    app.queue.gate.add_permits(10);
    app.order("alice", &ticket, 1).await.ok(202);
    assert_eq!(app.reservations(), 1);
}

#[tokio::test]
async fn a_reservation_whose_answer_was_lost_keeps_its_place() {
    let app = App::with(Options { stock: 1, ..Options::default() }).await;
    let (ticket, _) = app.ticket("alice").await;
    app.stock.loses_answer.store(true, std::sync::atomic::Ordering::SeqCst);
    app.order("alice", &ticket, 1).await.refused("unavailable");
    app.broadcast(1, 50, SaleNews::SoldOut);
    until("the flag", async || (app.order("bob", "x", 1).await.status == 409).then_some(())).await;
    app.order("alice", &ticket, 1).await.ok(202);
    assert_eq!(app.reservations(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_waited_for_a_flight_that_failed_passes_the_limits_before_doing_its_work() {
    let settings = vec![("SECKILL_PUBLISH_WAIT_MS", "60000"), ("SECKILL_BUYER_LIMIT", "2/3600")];
    let app = Arc::new(App::with(Options { settings, ..Options::default() }).await);
    app.queue.gate.forget_permits(usize::MAX);
    app.queue.fates.lock().extend([Fate::Full]);
    let (ticket, _) = app.ticket("alice").await;
    let place = |quantity| {
        let (app, ticket) = (app.clone(), ticket.clone());
        tokio::spawn(async move { app.order("alice", &ticket, quantity).await })
    };
    let first = place(1);
    until("the first", async || (app.reservations() == 1).then_some(())).await;
    // The ticket and the first order were all that alice may ask for. These find it in flight; should one come when it
    // has landed, it is limited like any other.
    let others: Vec<_> = (0..20).map(|_| place(2)).collect();
    for _ in 0..20 {
        app.public.get("/api/v1/sales", None).await.ok(200);
    }
    app.queue.gate.add_permits(50);
    first.await.unwrap().refused("unavailable");
    for other in others {
        let answer = other.await.unwrap();
        answer.refused("rate_limited");
        assert!(answer.header("ratelimit").is_some(), "whoever shares it is told where the buyer stands");
    }
    assert_eq!(
        app.stock.reserves.load(std::sync::atomic::Ordering::SeqCst),
        1,
        "nobody else asked the store"
    );
}

#[tokio::test]
async fn a_ticket_that_has_run_out_is_asked_about_although_the_sale_is_sold_out() {
    let app = App::with(Options { stock: 1, ..Options::default() }).await;
    let (ticket, order) = app.buy("alice").await;
    app.settle(order, "alice", OrderStatus::Paid).await;
    // A gateway that knows nothing of it: another one, or the same some time later.
    let other = app.beside(0).await;
    other.broadcast(1, 50, SaleNews::SoldOut);
    until("the flag", async || (other.ticket_answer("bob").await.status == 409).then_some(())).await;
    other.order("alice", &ticket, 1).await.refused("sold_out");
    app.clock.advance(61_000);
    let told = until("its 202", async || {
        Some(other.order("alice", &ticket, 1).await).filter(|answer| answer.status == 202)
    });
    assert_eq!(told.await.json()["status"], "paid");
}
