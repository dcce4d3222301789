//! The timeout job and the provider it asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use axum::http::Method;
use contract::api::PaymentStarted;
use contract::internal::OnBehalfOf;
use domain::OrderStatus;
use order::order_store::OrderStore;
use order::payment::{Charge, ChargeStatus, PaymentProvider, ProviderError};

use super::app::{App, Wishes, buyer, id, until};

/// A provider that opens charges and then is gone.
#[derive(Default)]
struct Unreachable {
    asked: AtomicU32,
}

#[async_trait]
impl PaymentProvider for Unreachable {
    async fn open(&self, charge: &Charge) -> Result<String, ProviderError> {
        Ok(format!("/pay/{}", charge.reference))
    }

    async fn status(&self, _: &str) -> Result<ChargeStatus, ProviderError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Err(ProviderError("no route".into()))
    }

    async fn refund(&self, _: &str, _: i64, _: &str) -> Result<(), ProviderError> {
        Err(ProviderError("no route".into()))
    }
}

async fn begin(app: &App, n: u32, who: &str) -> PaymentStarted {
    let path = format!("/internal/v1/orders/{}/payment", id(n));
    app.http.call(Method::POST, &path, &OnBehalfOf { buyer: buyer(who) }).await.unwrap()
}

#[tokio::test]
async fn unpaid_orders_expire_and_their_units_sell_again() {
    let app = App::start(Wishes::default()).await;
    app.put_sale(1, 1).await;
    app.place(1, "ada").await;
    app.pass_deadline();
    app.until_status(1, OrderStatus::Expired).await;
    app.place(2, "bob").await;
    app.end().await;
}

#[tokio::test]
async fn a_lost_webhook_is_made_good_at_the_deadline() {
    let app = App::start(Wishes { webhooks_lost: true, ..Wishes::default() }).await;
    app.put_sale(2, 1).await;
    app.place(1, "ada").await;
    app.place(2, "bob").await;
    let paid = begin(&app, 1, "ada").await;
    begin(&app, 2, "bob").await;
    app.press(&paid.payment_url, "succeed").await;
    assert_eq!(app.status(1).await, Some(OrderStatus::PendingPayment), "the webhook is lost");
    app.pass_deadline();
    app.until_status(1, OrderStatus::Paid).await;
    app.until_status(2, OrderStatus::Expired).await;
    app.end().await;
}

#[tokio::test]
async fn an_unreachable_provider_delays_an_expiry_for_a_bounded_time() {
    let provider = Arc::new(Unreachable::default());
    let app = App::start(Wishes { provider: Some(provider.clone()), ..Wishes::default() }).await;
    app.put_sale(2, 1).await;
    app.place(1, "ada").await;
    app.place(2, "bob").await;
    begin(&app, 1, "ada").await;
    app.pass_deadline();
    app.until_status(2, OrderStatus::Expired).await;
    let before = provider.asked.load(Ordering::SeqCst);
    until("it was asked again and again", || async { provider.asked.load(Ordering::SeqCst) > before + 2 })
        .await;
    assert_eq!(app.status(1).await, Some(OrderStatus::PendingPayment));
    app.pass(120_000);
    app.until_status(1, OrderStatus::Expired).await;
    assert_eq!(app.store.overdue_payments(1).await.unwrap(), []);
    app.end().await;
}

#[tokio::test]
async fn a_first_payment_asks_nobody_and_a_second_click_does_not_need_the_answer() {
    let provider = Arc::new(Unreachable::default());
    let app = App::start(Wishes { provider: Some(provider.clone()), ..Wishes::default() }).await;
    app.put_sale(1, 1).await;
    app.place(1, "ada").await;
    let first = begin(&app, 1, "ada").await;
    assert_eq!(provider.asked.load(Ordering::SeqCst), 0, "there is nothing to ask about");
    assert_eq!(begin(&app, 1, "ada").await, first, "it may still be under way");
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
    app.end().await;
}

#[tokio::test]
async fn money_of_an_order_that_was_cancelled_is_found_though_no_webhook_told_of_it() {
    let app = App::start(Wishes { webhooks_lost: true, ..Wishes::default() }).await;
    app.put_sale(1, 1).await;
    app.place(1, "ada").await;
    let paid = begin(&app, 1, "ada").await;
    app.press(&paid.payment_url, "succeed").await;
    let path = format!("/internal/v1/orders/{}/cancel", id(1));
    let _: contract::api::Order =
        app.http.call(Method::POST, &path, &OnBehalfOf { buyer: buyer("ada") }).await.unwrap();
    app.pass_deadline();
    app.pass(60_000);
    until("the money goes back", async || {
        let history = app.store.order_history(id(1)).await.unwrap().unwrap();
        history.refunds.iter().any(|refund| refund.status == "done")
    })
    .await;
    assert_eq!(app.status(1).await, Some(OrderStatus::Cancelled));
    app.end().await;
}

/// A provider that takes every question and answers none.
#[derive(Default)]
struct Silent {
    asked: AtomicU32,
    /// Questions that were given up.
    given_up: Arc<AtomicU32>,
}

/// A question that nobody answers.
struct Question(Arc<AtomicU32>);

impl Drop for Question {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl PaymentProvider for Silent {
    async fn open(&self, charge: &Charge) -> Result<String, ProviderError> {
        Ok(format!("/pay/{}", charge.reference))
    }

    async fn status(&self, _: &str) -> Result<ChargeStatus, ProviderError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let _question = Question(self.given_up.clone());
        std::future::pending().await
    }

    async fn refund(&self, _: &str, _: i64, _: &str) -> Result<(), ProviderError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_provider_that_is_silent_keeps_no_buyer_for_long() {
    let provider = Arc::new(Silent::default());
    let app = App::start(Wishes { provider: Some(provider.clone()), ..Wishes::default() }).await;
    app.put_sale(1, 1).await;
    app.place(1, "ada").await;
    let first = begin(&app, 1, "ada").await;
    assert_eq!(begin(&app, 1, "ada").await, first, "within what a gateway waits");
    assert_eq!(provider.given_up.load(Ordering::SeqCst), 1);
    app.end().await;
}

#[tokio::test]
async fn a_provider_that_is_silent_keeps_only_what_it_was_asked_about() {
    let provider = Arc::new(Silent::default());
    let app = App::start(Wishes { provider: Some(provider.clone()), ..Wishes::default() }).await;
    app.put_sale(2, 1).await;
    app.place(1, "ada").await;
    app.place(2, "bob").await;
    begin(&app, 1, "ada").await;
    app.pass_deadline();
    app.until_status(2, OrderStatus::Expired).await;
    assert_eq!(provider.given_up.load(Ordering::SeqCst), 0, "bob's order waited for no answer about ada's");
    assert_eq!(app.status(1).await, Some(OrderStatus::PendingPayment));
    app.end().await;
}

/// Orders of so many buyers with a payment under way, the first of a sale with one unit more.
async fn many_are_paying(app: &App, buyers: u32) {
    app.put_sale(buyers + 1, 1).await;
    for n in 1..=buyers {
        let who = format!("buyer-{n}");
        app.place(n, &who).await;
        begin(app, n, &who).await;
    }
}

#[tokio::test]
async fn who_is_overdue_while_a_silent_provider_is_asked_about_others_expires_all_the_same() {
    let provider = Arc::new(Silent::default());
    let app = App::start(Wishes { provider: Some(provider.clone()), ..Wishes::default() }).await;
    many_are_paying(&app, 64).await;
    app.pass_deadline();
    until("the provider is being asked", async || provider.asked.load(Ordering::SeqCst) > 0).await;
    app.place(65, "bob").await;
    app.pass_deadline();
    app.until_status(65, OrderStatus::Expired).await;
    let given_up = provider.given_up.load(Ordering::SeqCst);
    assert!(
        given_up < 48,
        "{given_up} questions were given up before bob's order, which waits for none, expired"
    );
    app.end().await;
}

#[tokio::test]
async fn after_the_time_of_grace_a_silent_provider_is_asked_about_a_few_and_all_expire() {
    let provider = Arc::new(Silent::default());
    let app = App::start(Wishes { provider: Some(provider.clone()), ..Wishes::default() }).await;
    many_are_paying(&app, 64).await;
    app.pass_deadline();
    app.pass(120_000);
    for n in 1..=64 {
        app.until_status(n, OrderStatus::Expired).await;
    }
    let asked = provider.asked.load(Ordering::SeqCst);
    assert!(asked < 32, "{asked} of 64 questions to somebody who answers none");
    app.end().await;
}
