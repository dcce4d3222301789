//! The shared connection: dialled in the background, replaced when it breaks or falls silent. A caller
//! never waits for it longer than its own bound, and not at all while the store is known to be down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::Counter;
use redis::Cmd;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::address::Address;
use super::connection::Connection;
use super::failure::{Failure, refused};
use super::library;

/// Pause between two attempts to connect.
const DIAL_AGAIN_MS: u64 = 100;
/// Longest attempt: sentinels and cluster nodes are tried one after the other.
const DIAL_MS_MAX: u64 = 3_000;

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
    status: Arc<watch::Sender<Status>>,
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
        let status = Arc::new(watch::Sender::new(Status::Dialling));
        let dialler = Dialler {
            address,
            install,
            answer_max,
            status: status.clone(),
            connects: metrics::counter!("seckill_stock_connects_total"),
        };
        Self { status, dialler: tokio::spawn(dialler.run()) }
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
    connects: Counter,
}

impl Dialler {
    async fn run(self) {
        let mut wanted = self.status.subscribe();
        for generation in 0.. {
            let live = self.dial_until_up(generation).await;
            self.status.send_replace(Status::Up(live));
            self.connects.increment(1);
            let up_since = Instant::now();
            // The link holds the sender as long as this task lives.
            let _ = wanted.wait_for(|status| matches!(status, Status::Dialling)).await;
            // A server that accepts connections and breaks them must not be hammered.
            let pause = Duration::from_millis(DIAL_AGAIN_MS);
            sleep(pause.saturating_sub(up_since.elapsed())).await;
        }
    }

    async fn dial_until_up(&self, generation: u64) -> Live {
        let mut told = false;
        loop {
            let bound = Duration::from_millis(DIAL_MS_MAX);
            match timeout(bound, self.dial()).await.unwrap_or(Err(Failure::TimedOut)) {
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
