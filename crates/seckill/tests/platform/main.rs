//! The whole platform in one process, from the outside: a buyer's journey, a restart, a refused start.

mod buyer;
mod stage;

use contract::Code;
use contract::api::{
    AdminOrder, AdminSale, Audit, Gate, IDEMPOTENCY_KEY_HEADER, Ledger, Mailbox, OrderList, Restock,
    WEBHOOK_PATH, WEBHOOK_SIGNATURE_HEADER,
};
use domain::{Clock, OrderStatus};
use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use service_kit::SystemClock;
use service_kit::http::HttpClient;

use stage::{Stage, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_bought_paid_told_of_and_refunded() {
    let stage = Stage::start().await;
    let sale = stage.sale("journey", 1, 600).await;
    let ann = stage.buyer("ann").await;
    let order = ann.buy(&sale, 1).await.expect("the only unit");
    stage.until("committed", async || ann.status(order).await == OrderStatus::PendingPayment).await;
    assert_eq!(ann.pay(order, "succeed").await, 303);
    stage.until("paid", async || ann.status(order).await == OrderStatus::Paid).await;
    let bob = stage.buyer("bob").await;
    assert_eq!(bob.buy(&sale, 1).await.unwrap_err(), "sold_out");
    stage
        .until("told", async || {
            let mailbox: Mailbox = ann.get("/api/v1/demo/mailbox").await;
            mailbox.notices.iter().any(|n| n.subject.contains("payment has arrived"))
        })
        .await;
    let refunded: AdminOrder = stage.post(&format!("/admin/v1/orders/{order}/refund"), &()).await;
    assert_eq!(refunded.order.status, OrderStatus::Refunded);
    assert_eq!(refunded.refunds.len(), 1, "one refund for one capture");
    stage.until("on sale again", async || bob.buy(&sale, 1).await.is_ok()).await;
    stage.until("at rest", async || stage.ledger("journey").await.consistent).await;
    let audit: Audit = stage.get("/admin/v1/audit").await;
    assert!(audit.ok, "{:?}", audit.findings);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_order_expires_and_its_unit_sells_again() {
    let stage = Stage::start().await;
    let sale = stage.sale("unpaid", 1, 1).await;
    let (ann, bob) = (stage.buyer("ann").await, stage.buyer("bob").await);
    let order = ann.buy(&sale, 1).await.expect("the only unit");
    stage.until("expired", async || ann.status(order).await == OrderStatus::Expired).await;
    stage.until("sold again", async || bob.buy(&sale, 1).await.is_ok()).await;
    let list: OrderList = ann.get("/api/v1/orders").await;
    assert_eq!(list.orders.len(), 1);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_late_takes_a_unit_if_there_is_one() {
    let stage = Stage::start().await;
    // Long enough to see it committed, and to begin to pay.
    let sale = stage.sale("late", 1, 5).await;
    let ann = stage.buyer("ann").await;
    let order = ann.buy(&sale, 1).await.expect("the only unit");
    stage.until("committed", async || ann.status(order).await == OrderStatus::PendingPayment).await;
    assert_eq!(ann.pay(order, "late").await, 303);
    stage.until("expired", async || ann.status(order).await == OrderStatus::Expired).await;
    stage.until("paid after all", async || ann.status(order).await == OrderStatus::Paid).await;
    stage.until("at rest", async || stage.ledger("late").await.consistent).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_rebuilds_the_stock_from_the_ledger_and_goes_on_selling() {
    let stage = Stage::start().await;
    let sale = stage.sale("restart", 3, 600).await;
    let ann = stage.buyer("ann").await;
    let order = ann.buy(&sale, 1).await.expect("a unit");
    let stage = stage.restart().await;
    let ann = stage.buyer("ann").await;
    stage.until("known again", async || ann.status(order).await == OrderStatus::PendingPayment).await;
    let bob = stage.buyer("bob").await;
    stage.until("selling again", async || bob.buy(&sale, 1).await.is_ok()).await;
    assert_eq!(ann.buy(&sale, 1).await.unwrap_err(), "limit_reached", "buyers' units are rebuilt too");
    let ledger: Ledger = stage.ledger("restart").await;
    assert!(ledger.epoch > 1, "a rebuilt sale has a higher epoch");
    let restocked: AdminSale = stage.post("/admin/v1/sales/restart/restock", &Restock { quantity: 2 }).await;
    assert_eq!(restocked.sale.stock, 5);
    stage.until("at rest", async || stage.ledger("restart").await.consistent).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_hold_resume_and_end_a_sale() {
    let stage = Stage::start().await;
    let sale = stage.sale("held", 5, 600).await;
    let ann = stage.buyer("ann").await;
    let act = async |what: &str| {
        let state: AdminSale = stage.post(&format!("/admin/v1/sales/held/{what}"), &()).await;
        state.state
    };
    assert_eq!(act("pause").await, "paused");
    stage.until("held", async || ann.buy(&sale, 1).await == Err("paused".into())).await;
    assert_eq!(act("resume").await, "open");
    stage.until("resumed", async || ann.buy(&sale, 1).await.is_ok()).await;
    assert_eq!(act("end").await, "ended");
    let bob = stage.buyer("bob").await;
    stage.until("ended", async || bob.buy(&sale, 1).await == Err("ended".into())).await;
    let refused = stage.admin.send(
        Method::POST,
        "/admin/v1/sales/held/restock",
        stage::json_headers(),
        r#"{"quantity":1}"#.into(),
    );
    assert_eq!(refused.await.unwrap().status, 409, "an ended sale is not restocked");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_sale_brings_its_rules() {
    let stage = Stage::start().await;
    let now = SystemClock.now().0;
    let sale = |id: &str, capacity: u32| {
        json!({"id": id, "title": "A lamp", "price_cents": 1, "currency": "EUR", "stock": 1, "per_user_limit": 1,
            "opens_at": now - 1_000, "ends_at": now + 600_000, "pay_within_s": 60,
            "rules": {"waiting_room": {"capacity": capacity, "admit_per_s": 1}}})
    };
    let made: AdminSale = stage.post("/admin/v1/sales", &sale("drawn", 9)).await;
    let ada = stage.buyer("ada").await;
    let gate: Gate = ada.get("/api/v1/sales/drawn/gate").await;
    assert!(gate.room, "the page learns it from the gate");
    assert_eq!(ada.buy(&made.buy, 1).await, Err("waiting_room".into()));
    let refused = stage.admin.call::<_, AdminSale>(Method::POST, "/admin/v1/sales", &sale("nobody", 0)).await;
    assert_eq!(refused.err().and_then(|e| e.code()), Some(Code::InvalidSale), "nobody could pass");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_who_contradict_what_is_there_are_told_so_by_name() {
    let stage = Stage::start().await;
    let buy = stage.sale("taken", 2, 600).await;
    let refused = async |path: &str, headers: HeaderMap, body: Value| {
        let reply = stage.admin.send(Method::POST, path, headers, body.to_string().into()).await;
        stage::refusal(&reply.expect("an answer"))
    };
    let now = SystemClock.now().0;
    let terms = |id: &str, title: &str| {
        json!({"id": id, "title": title, "price_cents": 7, "currency": "EUR", "stock": 9, "per_user_limit": 1,
            "opens_at": now - 1_000, "ends_at": now + 600_000, "pay_within_s": 60})
    };
    let sales = "/admin/v1/sales";
    assert_eq!(refused(sales, stage::json_headers(), terms("taken", "A lamp")).await, "409 conflict");
    assert_eq!(refused(sales, stage::json_headers(), terms("new", "A\u{0}lamp")).await, "422 invalid_sale");

    let restock = "/admin/v1/sales/taken/restock";
    let mut keyed = stage::json_headers();
    keyed.insert(IDEMPOTENCY_KEY_HEADER, HeaderValue::from_static("one-more"));
    let once = stage.admin.send(Method::POST, restock, keyed.clone(), r#"{"quantity":1}"#.into()).await;
    assert_eq!(once.unwrap().status, 200);
    assert_eq!(
        refused(restock, keyed, json!({"quantity": 2})).await,
        "409 conflict",
        "the key of another body"
    );
    let nothing = refused(restock, stage::json_headers(), json!({"quantity": 0})).await;
    assert_eq!(nothing, "422 invalid_quantity");
    let sale: AdminSale = stage.get("/admin/v1/sales/taken").await;
    assert_eq!((sale.sale.stock, sale.sale.price_cents), (3, 1_000), "what was refused changed nothing");

    let ann = stage.buyer("ann").await;
    let order = ann.buy(&buy, 1).await.expect("a unit");
    stage.until("committed", async || ann.status(order).await == OrderStatus::PendingPayment).await;
    let unpaid = refused(&format!("/admin/v1/orders/{order}/refund"), stage::json_headers(), json!({})).await;
    assert_eq!(unpaid, "409 not_refundable");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_somebody_else_signed_pays_nothing() {
    let stage = Stage::start().await;
    let buy = stage.sale("forged", 1, 600).await;
    let ann = stage.buyer("ann").await;
    let order = ann.buy(&buy, 1).await.expect("the only unit");
    stage.until("committed", async || ann.status(order).await == OrderStatus::PendingPayment).await;
    let told = json!({"event_id": "e-1", "type": "payment.succeeded", "reference": "r-1",
        "order_id": order.to_string(), "amount_cents": 1_000, "currency": "EUR"});
    let anybody = HttpClient::new(&format!("http://{}", stage.public()), None);
    let forged = format!("t={},v1={}", SystemClock.now().0 / 1_000, "00".repeat(32));
    // The right form at the right time, no known form, and none at all.
    for signature in [Some(forged.as_str()), Some("v1=00"), None] {
        let mut headers = stage::json_headers();
        if let Some(signature) = signature {
            headers.insert(WEBHOOK_SIGNATURE_HEADER, signature.parse().expect("a header's value"));
        }
        let reply = anybody.send(Method::POST, WEBHOOK_PATH, headers, told.to_string().into()).await;
        assert_eq!(stage::refusal(&reply.expect("an answer")), "401 bad_signature", "{signature:?}");
    }
    let seen: AdminOrder = stage.get(&format!("/admin/v1/orders/{order}")).await;
    assert_eq!((seen.order.status, seen.payments.len()), (OrderStatus::PendingPayment, 0));
    stage.stop().await;
}

#[tokio::test]
async fn a_start_that_cannot_work_names_the_setting() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("SECKILL_STOCK_URL", "memcached://here"),
        ("SECKILL_QUEUE_URL", "kafka://user:password@here"),
        ("SECKILL_DATABASE_URL", "mysql://user:password@here/db"),
        ("SECKILL_JWT_SECRET", ""),
        ("SECKILL_BUYER_LIMIT", "many"),
    ] {
        let settings = settings(folder.path()).with(name, value);
        let Err(error) = seckill::start(&settings, Default::default()).await else { panic!("{name} passed") };
        assert!(error.to_string().starts_with(&format!("{name}: ")), "{error}");
        assert!(!error.to_string().contains("password"), "{error}");
    }
}
