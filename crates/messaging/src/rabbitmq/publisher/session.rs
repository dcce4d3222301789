//! The life of one publishing channel.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Request, Task, pending};
use crate::PublishError;
use crate::rabbitmq::fate::{Fate, Fates, Pending};
use crate::rabbitmq::inquiry::{Inquiries, Level};
use crate::rabbitmq::link::{Live, close_channel};
use crate::rabbitmq::target::Target;

/// Between two looks for overdue confirms, in milliseconds.
const LOOK_EVERY_MS: u64 = 50;
/// Publishes refused at once while the broker takes none.
const REFUSED_AT_ONCE_MAX: usize = 1_024;

const CONFIRMS: &str = "seckill_queue_confirms_total";
const RETURNED: &str = "seckill_queue_returned_total";

/// Why a channel is not used any longer.
pub(super) enum End {
    /// Its connection is gone.
    Lost,
    /// It works, but not as it should.
    Distrusted {
        /// What was found.
        why: String,
        /// Whether it has confirmed anything.
        confirmed: bool,
    },
    /// All is settled and nothing more will come.
    Closed,
}

/// A publish and its confirm.
type Sent = Pin<Box<dyn Future<Output = (u64, Result<Confirmation, lapin::Error>)> + Send>>;

/// One publishing channel and what is under way on it.
pub(super) struct Session<'a> {
    task: &'a mut Task,
    live: &'a Live,
    channel: Arc<Channel>,
    sent: FuturesUnordered<Sent>,
    fates: Fates,
    inquiries: Inquiries,
    /// Whether any publish has been confirmed on it.
    confirmed: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(task: &'a mut Task, live: &'a Live, channel: Channel) -> Self {
        let inquiries = Inquiries::new(Arc::clone(&task.stats), task.limits);
        let (sent, fates) = (FuturesUnordered::new(), Fates::default());
        Self { task, live, channel: Arc::new(channel), sent, fates, inquiries, confirmed: false }
    }

    /// Publishes until the channel or the broker ends. What is not known then is told to be unknown.
    pub(super) async fn run(mut self) -> End {
        let end = self.work().await;
        let why = match &end {
            End::Distrusted { why, .. } => why.as_str(),
            End::Lost | End::Closed => "the connection was lost",
        };
        self.fates.tell_all_unconfirmed(why);
        if !matches!(end, End::Lost) {
            let channel = Arc::clone(&self.channel);
            tokio::spawn(async move { close_channel(&channel).await });
        }
        end
    }

    async fn work(&mut self) -> End {
        let (lost, closing) = (self.live.lost.clone(), self.task.closing.clone());
        let mut blocked = self.live.blocked.subscribe();
        let mut look = interval(Duration::from_millis(LOOK_EVERY_MS));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut requests, mut drained) = (Vec::new(), false);
        if let Some(early) = self.task.early.take() {
            self.publish(early);
        }
        loop {
            if drained && self.fates.is_empty() {
                return End::Closed;
            }
            // The broker closes a channel for a mistake, such as an exchange that is gone, and leaves the connection.
            if !self.channel.status().connected() {
                return self.distrusted("the broker closed it".into());
            }
            let is_blocked = blocked.borrow().is_some();
            let room = if is_blocked { REFUSED_AT_ONCE_MAX } else { self.task.window - self.sent.len() };
            tokio::select! {
                biased;
                () = lost.cancelled() => return End::Lost,
                Ok(()) = blocked.changed() => self.blocked(blocked.borrow_and_update().is_some()),
                Some((number, confirmation)) = self.sent.next(), if !self.sent.is_empty() => {
                    self.settle(number, confirmation);
                }
                Some((target, level)) = self.inquiries.next(), if !self.inquiries.is_empty() => {
                    if let Some(end) = self.refused(&target, level) { return end }
                }
                _ = look.tick() => if let Some(end) = self.look(is_blocked) { return end },
                () = closing.cancelled(), if !self.task.requests.is_closed() => self.task.requests.close(),
                taken = self.task.requests.recv_many(&mut requests, room), if room > 0 && !drained => {
                    drained = taken == 0;
                    for request in requests.drain(..) {
                        if is_blocked { refuse(request) } else { self.publish(request) }
                    }
                }
            }
        }
    }

    fn publish(&mut self, request: Request) {
        // Nobody waits for it any more: it may have been published again by now.
        if request.reply.is_closed() {
            return;
        }
        let (exchange, key) = (request.target.exchange(), request.target.key());
        let options =
            BasicPublishOptions { mandatory: request.target.mandatory(), ..BasicPublishOptions::default() };
        let properties = request.target.properties(&request.id);
        let (pending, body) = pending(request);
        let number = self.fates.begin(pending);
        let channel = Arc::clone(&self.channel);
        // Polled for the first time in the order of their making: so they are written in that order.
        self.sent.push(Box::pin(async move {
            let confirm = match channel.basic_publish(exchange, key, options, &body, properties).await {
                Ok(written) => written.await,
                Err(error) => Err(error),
            };
            (number, confirm)
        }));
    }

    /// Tells the publishers whose confirms have come.
    fn settle(&mut self, number: u64, confirmation: Result<Confirmation, lapin::Error>) {
        let Self { sent, fates, channel, .. } = self;
        fates.confirmed(number, confirmation);
        take_ready(sent, fates);
        let mut settled = Vec::new();
        while fates.has_settled() {
            let ripe = fates.ripe(|fates| {
                // Takes the lock under which the client completes confirms: those that it completes
                // together are complete after this.
                let _ = channel.wait_for_confirms().now_or_never();
                take_ready(sent, fates);
            });
            settled.extend(ripe);
        }
        let mut safe = 0;
        for (pending, fate) in settled {
            safe += u64::from(fate == Fate::Safe);
            self.tell(pending, fate);
        }
        self.confirmed |= safe > 0;
        metrics::counter!(CONFIRMS).increment(safe);
    }

    fn tell(&mut self, mut pending: Pending, fate: Fate) {
        match fate {
            Fate::Safe => pending.tell(Ok(())),
            Fate::Refused => self.inquiries.refused(pending),
            Fate::Lost(why) => pending.tell(Err(PublishError::Unconfirmed(why))),
            Fate::Returned => {
                let target = pending.target.name();
                tracing::error!(target, id = pending.id, "no queue is bound: RabbitMQ returned a message");
                metrics::counter!(RETURNED).increment(1);
                pending.tell(Err(PublishError::Unroutable(target)));
            }
        }
    }

    /// The broker stopped taking messages, or takes them again.
    fn blocked(&mut self, is_blocked: bool) {
        if is_blocked {
            // What was sent already may still come through, later: their publishers need not wait for it.
            self.fates.tell_all_unconfirmed("RabbitMQ takes no messages");
        } else {
            self.fates.wait_anew();
        }
    }

    /// A channel that refuses messages though their queue is not full may do so for good.
    fn refused(&mut self, target: &Target, level: Level) -> Option<End> {
        let why = match level {
            Level::Filled if self.task.doubts.reopens(target, Instant::now()) => {
                "less full than declared: does a policy limit it?"
            }
            Level::Unknown => "not known to hold anything",
            Level::Full | Level::Filled => return None,
        };
        Some(self.distrusted(format!("it refuses messages for {}, {why}", target.name())))
    }

    /// A channel whose confirms are overdue may never confirm again.
    fn look(&self, is_blocked: bool) -> Option<End> {
        let waited = self.fates.oldest()?.elapsed();
        (waited > self.task.wait && !is_blocked)
            .then(|| self.distrusted(format!("a confirm is overdue since {} ms", waited.as_millis())))
    }

    fn distrusted(&self, why: String) -> End {
        End::Distrusted { why, confirmed: self.confirmed }
    }
}

/// Records every confirm that has come.
fn take_ready(sent: &mut FuturesUnordered<Sent>, fates: &mut Fates) {
    // The set may say "not yet" once though some are ready: when it yields in between, or meets one that is just being
    // woken. Only a second time in a row means that there are none.
    let mut waited = 0;
    while waited < 2 {
        match sent.next().now_or_never() {
            Some(Some((number, confirmation))) => {
                fates.confirmed(number, confirmation);
                waited = 0;
            }
            Some(None) => return,
            None => waited += 1,
        }
    }
}

/// It is certain that this one is not in the queue, and no use to try again soon.
fn refuse(request: Request) {
    let _ = request.reply.send(Err(PublishError::Full));
}
