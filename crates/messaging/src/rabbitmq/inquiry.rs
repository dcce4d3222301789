//! Why a message was refused: a full queue, or a broker in trouble?
//!
//! The broker's nack does not say. A full queue is expected and heals by itself; any other nack can
//! mean a channel that nacks for good (it was opened before the leader of a queue died), and must be
//! opened anew. So the queues that may have refused are asked how full they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::fate::Pending;
use super::stats::Stats;
use super::target::Target;
use crate::PublishError;
use crate::topology::Limits;

/// How long a queue that was found full counts as full, in milliseconds.
const FULL_MS: u64 = 50;
/// A quorum queue that was full takes messages again below this share of its limit, in percent.
const REOPENS_BELOW_PERCENT: u64 = 80;

/// Whether a queue was full.
type Answer = (Target, bool);

/// Refused publishes, and the questions about them.
pub(super) struct Inquiries {
    stats: Arc<Stats>,
    limits: Limits,
    asked: FuturesUnordered<BoxFuture<'static, Answer>>,
    waiting: HashMap<Target, Vec<Pending>>,
    full: HashMap<Target, Instant>,
}

impl Inquiries {
    pub(super) fn new(stats: Arc<Stats>, limits: Limits) -> Self {
        let asked = FuturesUnordered::new();
        Self { stats, limits, asked, waiting: HashMap::new(), full: HashMap::new() }
    }

    /// A message was refused. Its publisher is told when it is known why.
    pub(super) fn refused(&mut self, mut pending: Pending) {
        let target = pending.target.clone();
        let known = self.full.get(&target);
        if known.is_some_and(|since| since.elapsed() < Duration::from_millis(FULL_MS)) {
            pending.tell(Err(PublishError::Full));
            return;
        }
        let waiting = self.waiting.entry(target.clone()).or_default();
        waiting.push(pending);
        if waiting.len() == 1 {
            self.asked.push(Box::pin(ask(Arc::clone(&self.stats), target, self.limits)));
        }
    }

    /// Whether anything is being asked.
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// The next answer: whether it was a full queue. Nothing is lost when the wait is cancelled.
    pub(super) async fn next(&mut self) -> bool {
        let Some((target, full)) = self.asked.next().await else { return true };
        for mut pending in self.waiting.remove(&target).unwrap_or_default() {
            pending.tell(Err(if full { PublishError::Full } else { unexplained() }));
        }
        if full {
            self.full.insert(target, Instant::now());
        }
        full
    }
}

impl Drop for Inquiries {
    fn drop(&mut self) {
        self.waiting.values_mut().flatten().for_each(|pending| pending.tell(Err(unexplained())));
    }
}

fn unexplained() -> PublishError {
    PublishError::Unconfirmed("the broker refused it, but its queue is not full".into())
}

async fn ask(stats: Arc<Stats>, target: Target, limits: Limits) -> Answer {
    for (queue, messages_max) in target.refusing(&limits) {
        let enough = messages_max.saturating_mul(REOPENS_BELOW_PERCENT) / 100;
        if stats.ready(&queue).await.is_ok_and(|ready| ready >= enough) {
            return (target, true);
        }
    }
    (target, false)
}
