//! The contract suite over the embedded broker.

#![allow(clippy::unwrap_used, reason = "a harness that fails is a failed test")]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use messaging::Subscription;
use messaging::contract_suite::{Harness, Ports};
use messaging::embedded::EmbeddedBroker;
use messaging::topology::{Limits, SUBSCRIPTIONS};
use support::{Place, options};
use tokio::sync::Mutex;

struct Embedded {
    place: Place,
    broker: Mutex<Option<Arc<EmbeddedBroker>>>,
}

impl Embedded {
    fn new() -> Self {
        Self { place: Place::new(), broker: Mutex::new(None) }
    }
}

fn ports(broker: &Arc<EmbeddedBroker>) -> Ports {
    Ports { queue: broker.clone(), bus: broker.clone(), dead: broker.clone() }
}

#[async_trait]
impl Harness for Embedded {
    async fn fresh(&self, limits: Limits) -> Ports {
        let broker = self.place.open(options(limits)).await;
        let ports = ports(&broker);
        *self.broker.lock().await = Some(broker);
        ports
    }

    async fn pass(&self, millis: i64) {
        self.place.clock.advance(millis);
    }

    async fn restart(&self, limits: Limits) -> Ports {
        let old = self.broker.lock().await.take().unwrap();
        old.close().await.unwrap();
        self.fresh(limits).await
    }

    async fn unbind_all(&self) {
        let broker = self.broker.lock().await;
        let broker = broker.as_ref().unwrap();
        SUBSCRIPTIONS.into_iter().for_each(|s: Subscription| broker.unbind(s));
        (0..4).for_each(|lane| broker.unbind_lane(lane));
    }
}

messaging::messaging_contract!(Embedded::new());
