//! The contract suite over a real RabbitMQ.

#![allow(clippy::unwrap_used, reason = "a harness that fails is a failed test")]

#[path = "support/rabbit.rs"]
mod rabbit;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use messaging::contract_suite::{Harness, Ports};
use messaging::rabbitmq::{RabbitBroker, RabbitOptions};
use messaging::topology::Limits;
use rabbit::Vhost;
use tokio::sync::Mutex;

/// Each lane is a group that elects a leader: few of them make the tests quick.
const LANES: u16 = 2;
/// Connections of one broker.
const CONNECTIONS: usize = 2;

struct Rabbit {
    vhost: Vhost,
    broker: Mutex<Option<Arc<RabbitBroker>>>,
}

impl Rabbit {
    fn new() -> Self {
        Self { vhost: Vhost::new(), broker: Mutex::new(None) }
    }
}

#[async_trait]
impl Harness for Rabbit {
    async fn fresh(&self, limits: Limits) -> Ports {
        let options = RabbitOptions { lanes: LANES, limits, ..RabbitOptions::default() };
        let broker = self.vhost.open(options).await;
        *self.broker.lock().await = Some(broker.clone());
        Ports { queue: broker.clone(), bus: broker.clone(), dead: broker }
    }

    /// The broker's clock is everybody's.
    async fn pass(&self, millis: i64) {
        tokio::time::sleep(Duration::from_millis(millis.unsigned_abs())).await;
    }

    /// What clients see of a restart: every connection ends. Restarts of the node itself are fault runs.
    async fn restart(&self, limits: Limits) -> Ports {
        let old = self.broker.lock().await.take().unwrap();
        self.vhost.close_connections(CONNECTIONS).await;
        old.close().await;
        self.fresh(limits).await
    }

    async fn unbind_all(&self) {
        self.vhost.unbind(|_| true);
    }

    fn sends_ahead(&self) -> bool {
        true
    }
}

messaging::messaging_contract!(ignore = "needs RabbitMQ: cargo xtask test runs it", Rabbit::new());
