//! The stock store on Redis 7 or Valkey: a function library (`seckill.lua`) and its caller.
//!
//! Every operation is one call of one function, so it is atomic and one round trip. All callers of a
//! process share a connection and their calls are pipelined as they come. **Waits are bounded**: an
//! outage costs a caller 200 ms at most, and nothing while the store is known to be down.

mod address;
mod codec;
mod connection;
mod failure;
mod library;
mod link;
mod silences;
mod store;

use std::time::Duration;

use domain::SaleId;
use metrics::Counter;
use redis::{Cmd, Value};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use self::address::Address;
use self::failure::{Failure, refused};
use self::link::{Link, Live};
use self::silences::Silences;
use crate::open::OpenError;
use crate::port::StockError;

/// How many times longer than a buyer's call it may take to see to the library: loading it takes a server longer.
const INSTALL_PATIENCE: u32 = 10;

/// How a [`RedisStock`] behaves.
#[derive(Clone, Copy, Debug)]
pub struct RedisOptions {
    /// Whether it installs and upgrades the function library. Inventory's does; a gateway's credentials
    /// would not even let it.
    pub installer: bool,
    /// Longest time that one call may take, waiting for a connection included.
    pub call_ms_max: u64,
    /// Calls under way at most; others wait, within their bound.
    pub calls_max: usize,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { installer: false, call_ms_max: 200, calls_max: 4_096 }
    }
}

/// [`StockStore`](crate::StockStore) on a Redis server, a primary named by sentinels, or a cluster.
pub struct RedisStock {
    link: Link,
    installer: bool,
    /// Only one call at a time sees to a missing library.
    installing: Mutex<()>,
    call_max: Duration,
    slots: Semaphore,
    silences: Silences,
    counts: Counts,
}

/// Handles made once.
struct Counts {
    calls: Counter,
    timeouts: Counter,
    failures: Counter,
}

impl RedisStock {
    /// A store at this URL. It connects in the background: until then, and whenever it is not
    /// connected, calls answer [`StockError::Unreachable`]. Must be called on a Tokio runtime.
    ///
    /// # Errors
    /// If the URL is not one of `redis://[user:password@]host[:port][/db]`,
    /// `redis+sentinel://[user:password@]host[:port],…/primary's name[/db]`,
    /// `redis+cluster://[user:password@]host[:port],…`.
    pub fn connect(url: &str, options: RedisOptions) -> Result<Self, OpenError> {
        let call_max = Duration::from_millis(options.call_ms_max);
        let address = Address::parse(url, call_max).map_err(|why| OpenError::bad_address(url, why))?;
        Ok(Self {
            link: Link::start(address, options.installer, call_max),
            installer: options.installer,
            installing: Mutex::new(()),
            call_max,
            slots: Semaphore::new(options.calls_max),
            silences: Silences::default(),
            counts: Counts {
                calls: metrics::counter!("seckill_stock_calls_total"),
                timeouts: metrics::counter!("seckill_stock_timeouts_total"),
                failures: metrics::counter!("seckill_stock_failures_total"),
            },
        })
    }

    /// Sends one command and awaits its answer, all within the bound of a call.
    async fn ask(&self, command: &Cmd) -> Result<Value, Failure> {
        self.ask_within(command, self.call_max).await
    }

    /// The same within another bound.
    async fn ask_within(&self, command: &Cmd, bound: Duration) -> Result<Value, Failure> {
        self.counts.calls.increment(1);
        let deadline = Instant::now() + bound;
        let in_slot = async {
            let _slot = self.slots.acquire().await.map_err(|_| refused("shut down"))?;
            self.ask_by(command, deadline).await
        };
        let answer = timeout_at(deadline, in_slot).await.unwrap_or(Err(Failure::TimedOut));
        match &answer {
            Ok(_) => {}
            Err(Failure::TimedOut) => self.counts.timeouts.increment(1),
            Err(_) => self.counts.failures.increment(1),
        }
        answer
    }

    async fn ask_by(&self, command: &Cmd, deadline: Instant) -> Result<Value, Failure> {
        let mut live = self.link.live().await?;
        let answer = self.ask_on(&mut live, command, deadline).await;
        if answer == Err(Failure::LibraryMissing) && self.installer {
            let _alone = self.installing.lock().await;
            library::install(&mut live.connection).await?;
            return self.ask_on(&mut live, command, deadline).await;
        }
        answer
    }

    /// Makes sure that the servers have the library, if that is this one's to do. A server that is away is no reason not
    /// to go on with another: one without any library says so itself.
    async fn see_to_library(&self) {
        if !self.installer {
            return;
        }
        let installed = async {
            let mut live = self.link.live().await?;
            let _alone = self.installing.lock().await;
            library::install(&mut live.connection).await
        };
        let bound = self.call_max * INSTALL_PATIENCE;
        if let Err(why) = timeout(bound, installed).await.unwrap_or(Err(Failure::TimedOut)) {
            tracing::warn!(%why, "not every server could be asked for its function library");
        }
    }

    /// Asks on this connection, and has it replaced if it turns out to be dead.
    async fn ask_on(&self, live: &mut Live, command: &Cmd, deadline: Instant) -> Result<Value, Failure> {
        let answers_before = live.answers();
        let answer = timeout_at(deadline, live.connection.ask(command)).await;
        let answer = answer.unwrap_or(Err(Failure::TimedOut));
        match &answer {
            Err(Failure::Broken(_)) if self.link.mends_itself() => {}
            Err(Failure::Broken(_)) => self.link.replace(live),
            Err(Failure::TimedOut) if live.answers() == answers_before => self.link.doubt(live),
            Err(Failure::TimedOut) => {}
            Ok(_) | Err(Failure::Refused(_) | Failure::LibraryMissing) => live.answered(),
        }
        answer
    }

    /// Calls a function of a sale that must be in force.
    async fn call(&self, sale: &SaleId, command: &Cmd) -> Result<Value, StockError> {
        match self.ask_about(sale, command, self.call_max).await? {
            answer if codec::is_unknown(&answer) => Err(StockError::UnknownSale(sale.clone())),
            answer => Ok(answer),
        }
    }

    /// Sends a command about a sale. In a cluster, if the sale's calls have timed out for long, the connection is renewed:
    /// as long as other sales get answers, nobody else would notice.
    async fn ask_about(&self, sale: &SaleId, command: &Cmd, bound: Duration) -> Result<Value, StockError> {
        let answer = self.ask_within(command, bound).await;
        match &answer {
            Err(Failure::TimedOut) if self.link.mends_itself() && self.silences.unheard(sale) => {
                self.link.renew();
            }
            Err(_) => {}
            Ok(_) => self.silences.heard(sale),
        }
        answer.map_err(|failure| unanswered(sale, failure))
    }
}

/// What a failure means to a caller. A server without the library has lost the sale.
fn unanswered(sale: &SaleId, failure: Failure) -> StockError {
    match failure {
        Failure::LibraryMissing => StockError::UnknownSale(sale.clone()),
        other => StockError::Unreachable(other.to_string()),
    }
}
