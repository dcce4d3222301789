//! Why a message was refused: a full queue, or a broker in trouble?
//!
//! The broker's nack does not say. A full queue is expected and heals by itself; any other nack can
//! mean a channel that nacks for good (it was opened before the leader of a queue died), and must be
//! opened anew. So the queues that may have refused are asked how full they are. One that holds something, but less than
//! the limit it was declared with, may be full all the same: policies limit queues too, and the protocol does not tell
//! them. How often a channel is opened anew for such a queue, [`super::doubts`] knows.

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

/// How long a queue counts as full as it was found, in milliseconds.
const FULL_MS: u64 = 50;
/// A quorum queue that was full takes messages again below this share of its limit, in percent.
const REOPENS_BELOW_PERCENT: u64 = 80;

/// How full the queues were that may have refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    /// One was full.
    Full,
    /// None was, but one held something: its leader is alive, and a policy may limit it.
    Filled,
    /// All were empty, or nobody could tell.
    Unknown,
}

impl Level {
    /// What publishers are told. Only a limit that is known makes it certain that a message is not in the queue.
    fn error(self) -> PublishError {
        match self {
            Self::Full => PublishError::Full,
            Self::Filled | Self::Unknown => unexplained(),
        }
    }
}

/// How full a target was.
type Answer = (Target, Level);

/// Refused publishes, and the questions about them.
pub(super) struct Inquiries {
    stats: Arc<Stats>,
    limits: Limits,
    asked: FuturesUnordered<BoxFuture<'static, Answer>>,
    waiting: HashMap<Target, Vec<Pending>>,
    found: HashMap<Target, (Level, Instant)>,
}

impl Inquiries {
    pub(super) fn new(stats: Arc<Stats>, limits: Limits) -> Self {
        let asked = FuturesUnordered::new();
        Self { stats, limits, asked, waiting: HashMap::new(), found: HashMap::new() }
    }

    /// A message was refused. Its publisher is told when it is known why.
    pub(super) fn refused(&mut self, mut pending: Pending) {
        let target = pending.target.clone();
        let known = self.found.get(&target);
        if let Some((level, _)) = known.filter(|(_, at)| at.elapsed() < Duration::from_millis(FULL_MS)) {
            pending.tell(Err(level.error()));
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

    /// The next answer. Nothing is lost when the wait is cancelled.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        let (target, level) = self.asked.next().await?;
        for mut pending in self.waiting.remove(&target).unwrap_or_default() {
            pending.tell(Err(level.error()));
        }
        self.found.insert(target.clone(), (level, Instant::now()));
        Some((target, level))
    }
}

impl Drop for Inquiries {
    fn drop(&mut self) {
        self.waiting.values_mut().flatten().for_each(|pending| pending.tell(Err(unexplained())));
    }
}

fn unexplained() -> PublishError {
    PublishError::Unconfirmed("the broker refused it, and its queue is not known to be full".into())
}

async fn ask(stats: Arc<Stats>, target: Target, limits: Limits) -> Answer {
    let mut level = Level::Unknown;
    for (queue, messages_max) in target.refusing(&limits) {
        let Ok(ready) = stats.ready(&queue).await else { continue };
        if ready >= messages_max.saturating_mul(REOPENS_BELOW_PERCENT) / 100 {
            return (target, Level::Full);
        }
        if ready > 0 {
            level = Level::Filled;
        }
    }
    (target, level)
}
