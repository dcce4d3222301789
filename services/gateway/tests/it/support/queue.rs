//! An order queue whose answers are the test's.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use contract::api::{DeadLetter, QueueInfo};
use contract::lane::{LaneMessage, OrderMessage};
use messaging::{Consumer, DeadLetters, OrderQueue, PublishError, QueueError};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// What becomes of a publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Confirm,
    Full,
    Unconfirmed,
    /// No answer, ever.
    Hang,
}

/// Remembers what was published. Confirms everything unless told otherwise.
pub struct Queue {
    pub published: Mutex<Vec<OrderMessage>>,
    pub fates: Mutex<VecDeque<Fate>>,
    pub depth: AtomicU64,
    /// How often it was asked for its depth.
    pub samples: AtomicU64,
    pub unreachable: AtomicBool,
    /// It can be asked, and takes nothing.
    pub blocked: AtomicBool,
    /// One permit a publish.
    pub gate: Semaphore,
    pub replayed: Mutex<Vec<String>>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            published: Mutex::default(),
            fates: Mutex::default(),
            depth: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            unreachable: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            replayed: Mutex::default(),
        }
    }
}

#[async_trait]
impl OrderQueue for Queue {
    fn lanes(&self) -> u16 {
        1
    }

    async fn publish(&self, message: &LaneMessage) -> Result<(), PublishError> {
        let LaneMessage::Order(order) = message else { panic!("a gateway publishes orders only") };
        self.gate.acquire().await.expect("never closed").forget();
        self.published.lock().push(order.clone());
        let fate = self.fates.lock().pop_front().unwrap_or(Fate::Confirm);
        match fate {
            Fate::Confirm => Ok(()),
            Fate::Full => Err(PublishError::Full),
            Fate::Unconfirmed => Err(PublishError::Unconfirmed("lost by the test".into())),
            Fate::Hang => std::future::pending().await,
        }
    }

    async fn consume(&self, _: u16) -> Result<Box<dyn Consumer>, QueueError> {
        panic!("a gateway does not consume")
    }

    fn takes(&self) -> Result<(), QueueError> {
        if self.blocked.load(Ordering::SeqCst) {
            return Err(QueueError::Unreachable("blocked by the test".into()));
        }
        Ok(())
    }

    async fn lane_stats(&self) -> Result<Vec<QueueInfo>, QueueError> {
        if self.unreachable.load(Ordering::SeqCst) {
            return Err(QueueError::Unreachable("cut by the test".into()));
        }
        let depth = self.depth.load(Ordering::SeqCst);
        self.samples.fetch_add(1, Ordering::SeqCst);
        Ok(vec![QueueInfo { name: "lane-0".into(), depth, consumers: 1, in_flight: 0 }])
    }
}

#[async_trait]
impl DeadLetters for Queue {
    async fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        assert!(limit <= 100);
        Ok(vec![DeadLetter {
            id: "7".into(),
            queue: "lane-0".into(),
            reason: "rejected".into(),
            died_at: 1,
            body: "{}".into(),
        }])
    }

    async fn replay(&self, id: &str) -> Result<(), QueueError> {
        if id != "7" {
            return Err(QueueError::Unknown(format!("dead letter {id}")));
        }
        self.replayed.lock().push(id.into());
        Ok(())
    }

    async fn stats(&self) -> Result<Vec<QueueInfo>, QueueError> {
        Ok(vec![QueueInfo { name: "seckill.dead.rejected".into(), depth: 1, ..QueueInfo::default() }])
    }

    async fn other_stats(&self) -> Result<Vec<QueueInfo>, QueueError> {
        Ok(vec![QueueInfo { name: "seckill.notify".into(), ..QueueInfo::default() }])
    }
}
