//! A bus on which the test speaks.

use std::sync::Arc;

use async_trait::async_trait;
use contract::events::{Event, Notice, SaleBroadcast};
use messaging::{Broadcasts, Consumer, EventBus, EventTap, PublishError, QueueError, Subscription};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};

pub struct Bus {
    pub broadcasts: Sender<SaleBroadcast>,
    pub events: Sender<Arc<Event>>,
}

impl Default for Bus {
    fn default() -> Self {
        Self { broadcasts: Sender::new(16), events: Sender::new(16) }
    }
}

struct Heard<T>(Receiver<T>);

impl<T: Clone> Heard<T> {
    async fn heard(&mut self) -> Result<Option<T>, QueueError> {
        match self.0.recv().await {
            Ok(news) => Ok(Some(news)),
            Err(RecvError::Lagged(_)) => Ok(None),
            Err(RecvError::Closed) => Err(QueueError::Closed),
        }
    }
}

#[async_trait]
impl Broadcasts for Heard<SaleBroadcast> {
    async fn next(&mut self) -> Result<Option<SaleBroadcast>, QueueError> {
        self.heard().await
    }
}

#[async_trait]
impl EventTap for Heard<Arc<Event>> {
    async fn next(&mut self) -> Result<Option<Arc<Event>>, QueueError> {
        self.heard().await
    }
}

#[async_trait]
impl EventBus for Bus {
    async fn publish(&self, _: &Event) -> Result<(), PublishError> {
        panic!("a gateway publishes no events")
    }

    async fn publish_notice(&self, _: &Notice) -> Result<(), PublishError> {
        panic!("a gateway publishes no notices")
    }

    async fn consume(&self, _: Subscription) -> Result<Box<dyn Consumer>, QueueError> {
        panic!("a gateway consumes no events")
    }

    async fn broadcast(&self, _: &SaleBroadcast) -> Result<(), PublishError> {
        panic!("a gateway broadcasts nothing")
    }

    async fn broadcasts(&self) -> Result<Box<dyn Broadcasts>, QueueError> {
        Ok(Box::new(Heard(self.broadcasts.subscribe())))
    }

    async fn tap(&self) -> Result<Box<dyn EventTap>, QueueError> {
        Ok(Box::new(Heard(self.events.subscribe())))
    }
}
