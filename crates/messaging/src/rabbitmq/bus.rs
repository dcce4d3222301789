//! The event bus.

use async_trait::async_trait;
use contract::events::{Event, Notice, SaleBroadcast};

use super::broker::RabbitBroker;
use super::listener::Listener;
use super::target::Target;
use crate::{Broadcasts, Consumer, EventBus, EventTap, PublishError, QueueError, Subscription, topology};

#[async_trait]
impl EventBus for RabbitBroker {
    async fn publish(&self, event: &Event) -> Result<(), PublishError> {
        self.put(Target::Event(event.kind), event.id.clone(), event).await
    }

    async fn publish_notice(&self, notice: &Notice) -> Result<(), PublishError> {
        self.put(Target::Notice(notice.channel, notice.priority), notice.id.clone(), notice).await
    }

    async fn consume(&self, subscription: Subscription) -> Result<Box<dyn Consumer>, QueueError> {
        self.consumer(&topology::subscription_queue(subscription)).await
    }

    async fn broadcast(&self, news: &SaleBroadcast) -> Result<(), PublishError> {
        let id = format!("{}-{}-{}", news.sale, news.change.epoch, news.change.n);
        self.put(Target::Broadcast, id, news).await
    }

    async fn broadcasts(&self) -> Result<Box<dyn Broadcasts>, QueueError> {
        Ok(Box::new(Listener::to_broadcasts(&*self.live()?, self.closing.clone()).await?))
    }

    async fn tap(&self) -> Result<Box<dyn EventTap>, QueueError> {
        Ok(Box::new(Listener::to_events(&*self.live()?, self.closing.clone()).await?))
    }
}
