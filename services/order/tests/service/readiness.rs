//! Readiness: what the service needs, and whether it has it now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::http::{HeaderMap, Method, StatusCode};
use contract::api::QueueInfo;
use contract::lane::LaneMessage;
use messaging::embedded::EmbeddedBroker;
use messaging::{Consumer, OrderQueue, PublishError, QueueError};

use super::app::{App, Wishes, until};

/// Whether the wire is cut. Only one test uses it.
static AWAY: AtomicBool = AtomicBool::new(false);

/// The broker, on a wire that can be cut.
struct Wire(Arc<EmbeddedBroker>);

#[async_trait]
impl OrderQueue for Wire {
    fn lanes(&self) -> u16 {
        self.0.lanes()
    }

    async fn publish(&self, message: &LaneMessage) -> Result<(), PublishError> {
        OrderQueue::publish(&*self.0, message).await
    }

    fn takes(&self) -> Result<(), QueueError> {
        self.0.takes()
    }

    async fn consume(&self, lane: u16) -> Result<Box<dyn Consumer>, QueueError> {
        OrderQueue::consume(&*self.0, lane).await
    }

    async fn lane_stats(&self) -> Result<Vec<QueueInfo>, QueueError> {
        match AWAY.load(Ordering::SeqCst) {
            true => Err(QueueError::Unreachable("cut by the test".into())),
            false => self.0.lane_stats().await,
        }
    }
}

#[tokio::test]
async fn who_loses_the_queue_is_not_ready_until_it_is_back() {
    let app = App::start(Wishes { wire: Some(|broker| Arc::new(Wire(broker))), ..Wishes::default() }).await;
    let asked = || async {
        let reply = app.operators.send(Method::GET, "/readyz", HeaderMap::new(), Default::default()).await;
        let reply = reply.unwrap();
        (reply.status, String::from_utf8(reply.body.to_vec()).unwrap())
    };
    let ready = || async { asked().await.0 == StatusCode::OK };
    until("it is ready", ready).await;
    AWAY.store(true, Ordering::SeqCst);
    until("it is not", || async { !ready().await }).await;
    let (status, said) = asked().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.contains("the order queue") && said.contains("cut by the test"), "{said}");
    assert!(!said.contains("the ledger"), "only what is away is named: {said}");
    AWAY.store(false, Ordering::SeqCst);
    until("it is ready again", ready).await;
    app.end().await;
}
