//! The order queue.

use async_trait::async_trait;
use contract::api::QueueInfo;
use contract::lane::{LaneMessage, lane_of};

use super::broker::RabbitBroker;
use super::target::Target;
use crate::{Consumer, OrderQueue, PublishError, QueueError, topology};

#[async_trait]
impl OrderQueue for RabbitBroker {
    fn lanes(&self) -> u16 {
        self.options.lanes
    }

    async fn publish(&self, message: &LaneMessage) -> Result<(), PublishError> {
        let lane = Target::Lane(lane_of(message.sale(), self.options.lanes));
        self.put(lane, message.id(), message).await
    }

    fn takes(&self) -> Result<(), QueueError> {
        self.readiness().map_err(QueueError::Unreachable)
    }

    async fn consume(&self, lane: u16) -> Result<Box<dyn Consumer>, QueueError> {
        if lane >= self.options.lanes {
            return Err(QueueError::Unknown(topology::lane_queue(lane)));
        }
        self.consumer(&topology::lane_queue(lane)).await
    }

    async fn lane_stats(&self) -> Result<Vec<QueueInfo>, QueueError> {
        self.stats.infos((0..self.options.lanes).map(topology::lane_queue)).await
    }
}
