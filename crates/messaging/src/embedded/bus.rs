//! The event bus.

use std::sync::Arc;

use async_trait::async_trait;
use contract::events::{Event, Notice, SaleBroadcast};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::broker::EmbeddedBroker;
use crate::{Broadcasts, Consumer, EventBus, EventTap, PublishError, QueueError, Subscription, topology};

/// A listener to broadcasts or events that may miss some.
struct Listener<T> {
    news: Receiver<T>,
    closing: CancellationToken,
}

impl<T: Clone> Listener<T> {
    async fn next(&mut self) -> Result<Option<T>, QueueError> {
        let heard = tokio::select! {
            biased;
            () = self.closing.cancelled() => return Err(QueueError::Closed),
            heard = self.news.recv() => heard,
        };
        match heard {
            Ok(news) => Ok(Some(news)),
            Err(RecvError::Lagged(_)) => Ok(None),
            Err(RecvError::Closed) => Err(QueueError::Closed),
        }
    }
}

#[async_trait]
impl Broadcasts for Listener<SaleBroadcast> {
    async fn next(&mut self) -> Result<Option<SaleBroadcast>, QueueError> {
        Listener::next(self).await
    }
}

#[async_trait]
impl EventTap for Listener<Arc<Event>> {
    async fn next(&mut self) -> Result<Option<Arc<Event>>, QueueError> {
        Listener::next(self).await
    }
}

#[async_trait]
impl EventBus for EmbeddedBroker {
    async fn publish(&self, event: &Event) -> Result<(), PublishError> {
        let key = event.kind.routing_key();
        self.put(self.routes.of_event(event.kind), event, key).await?;
        // Nobody listening is no failure: taps are for those who want to be woken.
        let _ = self.events.send(Arc::new(event.clone()));
        Ok(())
    }

    async fn publish_notice(&self, notice: &Notice) -> Result<(), PublishError> {
        self.put(self.routes.of_notice(notice.channel), notice, notice.channel.as_str()).await
    }

    async fn consume(&self, subscription: Subscription) -> Result<Box<dyn Consumer>, QueueError> {
        let place = self.routes.subscription(subscription);
        self.consumer(place.ok_or_else(|| QueueError::Unknown(topology::subscription_queue(subscription)))?)
            .await
    }

    async fn broadcast(&self, news: &SaleBroadcast) -> Result<(), PublishError> {
        let _ = self.news.send(news.clone());
        Ok(())
    }

    async fn broadcasts(&self) -> Result<Box<dyn Broadcasts>, QueueError> {
        Ok(Box::new(Listener { news: self.news.subscribe(), closing: self.shared.closing.clone() }))
    }

    async fn tap(&self) -> Result<Box<dyn EventTap>, QueueError> {
        Ok(Box::new(Listener { news: self.events.subscribe(), closing: self.shared.closing.clone() }))
    }
}
