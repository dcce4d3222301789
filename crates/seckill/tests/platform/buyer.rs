//! A buyer, as the shop's page plays one.

use std::net::SocketAddr;

use contract::Problem;
use contract::api::{Accepted, DemoLogin, DemoToken, Order, PaymentStarted, PlaceOrder, TicketIssued};
use domain::{OrderId, OrderStatus};
use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use service_kit::Secret;
use service_kit::http::{ClientError, HttpClient};

pub(crate) struct Buyer(HttpClient);

impl Buyer {
    pub(crate) async fn sign_in(shop: SocketAddr, name: &str) -> Self {
        let base = format!("http://{shop}");
        let login = DemoLogin { user: name.parse().expect("a name") };
        let answer: DemoToken = HttpClient::new(&base, None)
            .call(Method::POST, "/api/v1/demo/login", &login)
            .await
            .expect("the demo login is mounted");
        Self(HttpClient::new(&base, Some(&Secret::new(answer.token))))
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.0.get(path).await.unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    /// Takes a ticket and orders; the problem's code if refused.
    pub(crate) async fn buy(&self, path: &str, quantity: i64) -> Result<OrderId, String> {
        let ticket: TicketIssued =
            self.0.call(Method::POST, &format!("{path}/tickets"), &()).await.map_err(code)?;
        let order = PlaceOrder { ticket: ticket.ticket, quantity };
        let accepted: Accepted =
            self.0.call(Method::POST, &format!("{path}/orders"), &order).await.map_err(code)?;
        assert_eq!(accepted.order_id, ticket.order_id, "the ticket mints the order id");
        Ok(accepted.order_id)
    }

    pub(crate) async fn status(&self, order: OrderId) -> OrderStatus {
        let order: Result<Order, _> = self.0.get(&format!("/api/v1/orders/{order}")).await;
        match order {
            Ok(order) => order.status,
            // While the stock is being rebuilt nobody may say "not found".
            Err(ClientError::Problem(problem)) if problem.status == 503 => OrderStatus::Queued,
            Err(error) => panic!("an accepted order is not there: {error}"),
        }
    }

    /// Goes to the pay page and presses a button; the status of the answer.
    pub(crate) async fn pay(&self, order: OrderId, button: &str) -> u16 {
        let payment: PaymentStarted = self
            .0
            .call(Method::POST, &format!("/api/v1/orders/{order}/payment"), &())
            .await
            .expect("the order can be paid");
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, form)]);
        let body = format!("action={button}");
        let reply = self.0.send(Method::POST, &payment.payment_url, headers, body.into()).await;
        reply.expect("the pay page answers").status.as_u16()
    }
}

fn code(error: ClientError) -> String {
    match error {
        ClientError::Problem(problem) => {
            let Problem { code, .. } = *problem;
            code
        }
        other => panic!("no answer of the contract: {other}"),
    }
}
