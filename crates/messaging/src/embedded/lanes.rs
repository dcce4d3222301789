//! The order queue.

use async_trait::async_trait;
use contract::api::QueueInfo;
use contract::lane::{LaneMessage, lane_of};

use super::broker::EmbeddedBroker;
use crate::{Consumer, OrderQueue, PublishError, QueueError, topology};

#[async_trait]
impl OrderQueue for EmbeddedBroker {
    fn lanes(&self) -> u16 {
        self.routes.lanes()
    }

    async fn publish(&self, message: &LaneMessage) -> Result<(), PublishError> {
        let lane = lane_of(message.sale(), self.routes.lanes());
        self.put(self.routes.of_lane(lane), message, topology::ORDERS).await
    }

    fn takes(&self) -> Result<(), QueueError> {
        // A disk that is full says so when something is written.
        Ok(())
    }

    async fn consume(&self, lane: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let place = self.routes.lane(lane);
        self.consumer(place.ok_or_else(|| QueueError::Unknown(topology::lane_queue(lane)))?).await
    }

    async fn lane_stats(&self) -> Result<Vec<QueueInfo>, QueueError> {
        Ok((0..self.routes.lanes()).map(|lane| self.shared.info(usize::from(lane))).collect())
    }
}
