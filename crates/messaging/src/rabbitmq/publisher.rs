//! Publishing: one task owns the publishing channel. It takes publishes while the window has room,
//! awaits their confirms side by side, and opens the channel anew when it cannot be trusted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::doubts::Doubts;
use super::fate::{Pending, Reply};
use super::link::{Link, Live, State};
use super::options::RabbitOptions;
use super::stats::Stats;
use super::target::Target;
use crate::PublishError;
use crate::topology::Limits;

mod session;

use session::{End, Session};

/// Publishes that wait for the publishing task. More wait in their callers, each within its bound.
const REQUESTS_MAX: usize = 4_096;
/// Least time between two openings of the channel, in milliseconds.
const REOPEN_EVERY_MS: u64 = 100;
/// Channels in a row that confirmed nothing, at most: then it is the node that cannot be trusted. One that is cut off from
/// the others of its cluster still opens channels, and confirms nothing on them.
const FRUITLESS_MAX: u32 = 3;

const REOPENED: &str = "seckill_queue_channels_reopened_total";
const REFUSED: &str = "seckill_queue_refused_total";

/// A message on its way to the publishing task.
struct Request {
    target: Target,
    id: String,
    body: Vec<u8>,
    reply: Reply,
}

/// The way to the publishing task.
pub(super) struct Publisher {
    requests: mpsc::Sender<Request>,
    wait: Duration,
}

impl Publisher {
    /// Starts the publishing task. It ends when `closing` is cancelled and what is under way is settled.
    pub(super) fn start(
        link: &Link,
        stats: Arc<Stats>,
        options: &RabbitOptions,
        closing: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (requests, waiting) = mpsc::channel(REQUESTS_MAX);
        let task = Task {
            requests: waiting,
            link: link.watch(),
            stats,
            limits: options.limits,
            window: options.confirm_window.max(1),
            wait: options.publish_wait,
            closing,
            doubts: Doubts::default(),
            early: None,
        };
        (Self { requests, wait: options.publish_wait }, tokio::spawn(task.run()))
    }

    /// Publishes a message; done when the broker has confirmed it, within the bound. `id` is the same
    /// for every publish of the same intention.
    pub(super) async fn put(&self, target: Target, id: String, body: Vec<u8>) -> Result<(), PublishError> {
        let (reply, fate) = oneshot::channel();
        let closed = |()| PublishError::Unconfirmed("the broker is closed".into());
        let wait = async {
            let request = Request { target, id, body, reply };
            self.requests.send(request).await.map_err(|_| closed(()))?;
            fate.await.map_err(|_| closed(()))?
        };
        let told = timeout(self.wait, wait).await.unwrap_or_else(|_| {
            Err(PublishError::Unconfirmed(format!("not within {} ms", self.wait.as_millis())))
        });
        if let Err(error) = &told {
            metrics::counter!(REFUSED, "why" => kind(error)).increment(1);
        }
        told
    }
}

fn kind(error: &PublishError) -> &'static str {
    match error {
        PublishError::Full => "full",
        PublishError::Unroutable(_) => "unroutable",
        PublishError::Unconfirmed(_) => "unconfirmed",
    }
}

/// The publishing task.
struct Task {
    requests: mpsc::Receiver<Request>,
    link: watch::Receiver<State>,
    stats: Arc<Stats>,
    limits: Limits,
    window: usize,
    wait: Duration,
    closing: CancellationToken,
    /// Outlive the channels that are opened for their sake.
    doubts: Doubts,
    /// Came at the very moment of a connection; the first to be published on it.
    early: Option<Request>,
}

impl Task {
    async fn run(mut self) {
        let mut fruitless = 0;
        while let Some(live) = self.connected().await {
            let channel = match live.confirming_channel().await {
                Ok(channel) => channel,
                Err(why) => {
                    live.suspect(why.clone());
                    self.refuse_until(live.lost.cancelled(), &why).await;
                    continue;
                }
            };
            match Session::new(&mut self, &live, channel).run().await {
                End::Lost => fruitless = 0,
                End::Closed => return,
                End::Distrusted { why, confirmed } => {
                    tracing::warn!(%why, "the publishing channel is opened anew");
                    metrics::counter!(REOPENED).increment(1);
                    fruitless = if confirmed { 0 } else { fruitless + 1 };
                    if fruitless >= FRUITLESS_MAX {
                        fruitless = 0;
                        live.suspect(why.clone());
                        self.refuse_until(live.lost.cancelled(), &why).await;
                        continue;
                    }
                    sleep(Duration::from_millis(REOPEN_EVERY_MS)).await;
                }
            }
        }
    }

    /// Waits for a connection. What comes meanwhile is refused at once: nothing is kept for later.
    async fn connected(&mut self) -> Option<Arc<Live>> {
        loop {
            let why = match &*self.link.borrow_and_update() {
                State::Up(live) => return Some(Arc::clone(live)),
                State::Down(why) => why.clone(),
            };
            let mut link = self.link.clone();
            tokio::select! {
                biased;
                () = self.closing.cancelled() => {
                    self.requests.close();
                    while let Ok(request) = self.requests.try_recv() {
                        refuse(request, &why);
                    }
                    return None;
                }
                changed = link.changed() => changed.ok()?,
                request = self.requests.recv() => {
                    let request = request?;
                    if matches!(&*self.link.borrow(), State::Up(_)) {
                        self.early = Some(request);
                    } else {
                        refuse(request, &why);
                    }
                }
            }
        }
    }

    async fn refuse_until(&mut self, end: impl Future<Output = ()>, why: &str) {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                request = self.requests.recv() => match request {
                    Some(request) => refuse(request, why),
                    None => return,
                },
            }
        }
    }
}

fn refuse(request: Request, why: &str) {
    let why = format!("not connected to RabbitMQ: {why}");
    let _ = request.reply.send(Err(PublishError::Unconfirmed(why)));
}

fn pending(request: Request) -> (Pending, Vec<u8>) {
    (Pending::new(request.id, request.target, request.reply), request.body)
}
