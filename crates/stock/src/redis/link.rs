//! The shared connection: dialled in the background, replaced when it breaks or falls silent. A caller
//! never waits for it longer than its own bound, and not at all while the store is known to be down.
//!
//! A cluster's connection goes on working for the sales of its other nodes when one of them dies. So it is *renewed*: used
//! on until another is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::Counter;
use redis::Cmd;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::address::Address;
use super::connection::Connection;
use super::failure::{Failure, refused};
use super::library;

/// Pause between two attempts to connect.
const DIAL_AGAIN_MS: u64 = 100;
/// Least time from one renewal to the next.
const RENEW_EVERY_MS: u64 = 1_000;
/// Longest attempt: sentinels are tried one after the other, and a cluster's nodes twice, side by side. One that stands
/// still takes two seconds each time.
const DIAL_MS_MAX: u64 = 5_000;

/// A connection in use.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: Connection,
    /// Which one it is, counted from the start.
    generation: u64,
    /// Answers it has brought.
    answers: Arc<AtomicU64>,
}

impl Live {
    /// Counts an answer.
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// How many answers it has brought: a call that timed out, and no other was answered meanwhile, has
    /// found a dead connection.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

/// Where the connection stands.
enum Status {
    /// About to be there; worth a short wait.
    Dialling,
    Up(Live),
    /// The last attempt failed; others follow.
    Down(Failure),
}

/// The connection that all callers share. Dropping it stops the dialling.
pub(super) struct Link {
    mends_itself: bool,
    status: Arc<watch::Sender<Status>>,
    renewal: Arc<Notify>,
    dialler: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.dialler.abort();
    }
}

impl Link {
    /// Starts dialling. With `install`, every new connection sees to the function library first.
    pub(super) fn start(address: Address, install: bool, answer_max: Duration) -> Self {
        let (status, renewal) = (Arc::new(watch::Sender::new(Status::Dialling)), Arc::<Notify>::default());
        let mends_itself = matches!(address, Address::Cluster(_));
        let dialler = Dialler {
            address,
            install,
            answer_max,
            status: status.clone(),
            renewal: renewal.clone(),
            connects: metrics::counter!("seckill_stock_connects_total"),
        };
        Self { mends_itself, status, renewal, dialler: tokio::spawn(dialler.run()) }
    }

    /// The present connection, waited for while it is being dialled.
    pub(super) async fn live(&self) -> Result<Live, Failure> {
        match &*self.status.borrow() {
            Status::Up(live) => return Ok(live.clone()),
            Status::Down(why) => return Err(why.clone()),
            Status::Dialling => {}
        }
        let mut watching = self.status.subscribe();
        let settled = watching.wait_for(|status| !matches!(status, Status::Dialling)).await;
        match settled.as_deref() {
            Ok(Status::Up(live)) => Ok(live.clone()),
            Ok(Status::Down(why)) => Err(why.clone()),
            Ok(Status::Dialling) | Err(_) => Err(refused("not connected")),
        }
    }

    /// Whether the connection reconnects by itself. A cluster's does: one dead node breaks the calls of its own sales, and
    /// to dial anew for each of them would break everybody's.
    pub(super) fn mends_itself(&self) -> bool {
        self.mends_itself
    }

    /// Has another connection dialled while this one is used on, and then take its place.
    pub(super) fn renew(&self) {
        self.renewal.notify_one();
    }

    /// This connection has fallen silent. A cluster's may only have a node that has: it is used on until another is there.
    pub(super) fn doubt(&self, silent: &Live) {
        if self.mends_itself { self.renew() } else { self.replace(silent) }
    }

    /// Gives up this connection, unless another has taken its place already.
    pub(super) fn replace(&self, broken: &Live) {
        self.status.send_if_modified(|status| {
            let present = matches!(status, Status::Up(live) if live.generation == broken.generation);
            if present {
                *status = Status::Dialling;
            }
            present
        });
    }
}

/// The task behind a [`Link`].
struct Dialler {
    address: Address,
    install: bool,
    answer_max: Duration,
    status: Arc<watch::Sender<Status>>,
    renewal: Arc<Notify>,
    connects: Counter,
}

impl Dialler {
    async fn run(self) {
        let mut generation = 0;
        loop {
            let live = self.dial_until_up(generation).await;
            self.status.send_replace(Status::Up(live));
            self.connects.increment(1);
            let up_since = Instant::now();
            self.renew_until_broken(&mut generation).await;
            generation += 1;
            // A server that accepts connections and breaks them must not be hammered.
            let pause = Duration::from_millis(DIAL_AGAIN_MS);
            sleep(pause.saturating_sub(up_since.elapsed())).await;
        }
    }

    /// Puts another connection in place whenever that is asked for, and comes back when none works any more.
    async fn renew_until_broken(&self, generation: &mut u64) {
        let mut status = self.status.subscribe();
        // The link holds the sender as long as this task lives.
        let mut broken = async || {
            let _ = status.wait_for(|status| matches!(status, Status::Dialling)).await;
        };
        loop {
            tokio::select! {
                () = broken() => return,
                () = self.renewal.notified() => {}
            }
            let answers = self.answers();
            match self.dial_within().await {
                Ok(connection) => {
                    *generation += 1;
                    let live = Live { connection, generation: *generation, answers: Arc::default() };
                    self.status.send_replace(Status::Up(live));
                    self.connects.increment(1);
                }
                // The present one has brought nothing meanwhile either.
                Err(why) if self.answers() == answers => {
                    self.status.send_replace(Status::Down(why));
                    return;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = broken() => return,
                () = sleep(Duration::from_millis(RENEW_EVERY_MS)) => {}
            }
        }
    }

    /// How many answers the present connection has brought.
    fn answers(&self) -> u64 {
        match &*self.status.borrow() {
            Status::Up(live) => live.answers(),
            Status::Dialling | Status::Down(_) => 0,
        }
    }

    async fn dial_within(&self) -> Result<Connection, Failure> {
        let bound = Duration::from_millis(DIAL_MS_MAX);
        timeout(bound, self.dial()).await.unwrap_or(Err(Failure::TimedOut))
    }

    async fn dial_until_up(&self, generation: u64) -> Live {
        let mut told = false;
        loop {
            match self.dial_within().await {
                Ok(connection) => {
                    tracing::info!(generation, "connected to the stock store");
                    return Live { connection, generation, answers: Arc::default() };
                }
                Err(why) => {
                    if !told {
                        tracing::warn!(%why, "the stock store cannot be reached; trying on");
                        told = true;
                    }
                    self.status.send_replace(Status::Down(why));
                }
            }
            sleep(Duration::from_millis(DIAL_AGAIN_MS)).await;
        }
    }

    /// Connects, and makes sure that commands are answered: a loading or frozen server accepts
    /// connections too.
    async fn dial(&self) -> Result<Connection, Failure> {
        let mut connection = self.address.dial(self.answer_max).await?;
        let first = async {
            connection.ask(&ping()).await?;
            if self.install {
                library::install(&mut connection).await?;
            }
            Ok(connection)
        };
        timeout(self.answer_max * 2, first).await.unwrap_or(Err(Failure::TimedOut))
    }
}

/// The command that any server answers and any user may send.
pub(super) fn ping() -> Cmd {
    redis::cmd("PING")
}
