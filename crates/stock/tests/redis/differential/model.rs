//! Both stores at once: every operation is done to each, and the answers are compared.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use contract::internal::LiveOrder;
use domain::{BuyerId, Clock, Epoch, Phase, ReservationId, SaleId, UnixMillis};
use stock::contract_suite::Harness;
use stock::{MemoryStock, Peek, Rebuild, ReserveRequest, StockConfig, StockStore};

use super::operation::{IDS, Id, Operation, TICK_MS, Terms};
use crate::support::{Losing, START, TestClock, buyer, first, sale};

/// Longer than any ticket of a sequence lives.
const AFTER_ALL_TICKETS_MS: i64 = 1_000_000;

struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

/// The two stores, and what the sequence has to remember.
pub(crate) struct Pair<'a> {
    redis: &'a TestClock,
    ours: Arc<dyn StockStore>,
    memory: MemoryStock,
    clock: Arc<ManualClock>,
    sale: SaleId,
    highest: u64,
    version: u64,
    /// The epoch that the keys name, in force or not. Redis writes only above it, even where nothing
    /// is in force any more; the memory store has nothing left to compare with then.
    written: Option<u64>,
    writers: [Option<Rebuild>; 2],
}

fn same<T: PartialEq + Debug>(what: &impl Debug, redis: T, memory: T) -> Result<T, String> {
    if redis == memory {
        return Ok(redis);
    }
    Err(format!("{what:?}: redis answered {redis:?}, memory {memory:?}"))
}

fn id_of((n, late): Id) -> ReservationId {
    ReservationId { late, ..first(n) }
}

fn buyer_of(n: u8) -> BuyerId {
    buyer(&format!("buyer-{n}"))
}

fn stepped(base: u64, step: i64) -> u64 {
    base.saturating_add_signed(step)
}

/// Does one call to both stores and compares the answers.
macro_rules! both {
    ($pair:expr, $what:expr, $call:ident ( $($argument:expr),* )) => {
        same($what, $pair.ours.$call($($argument),*).await, $pair.memory.$call($($argument),*).await)
    };
}

impl<'a> Pair<'a> {
    /// Does the operations to a fresh sale in both stores.
    pub(crate) async fn run(redis: &'a TestClock, n: u64, operations: &[Operation]) -> Result<(), String> {
        let clock = Arc::new(ManualClock(AtomicI64::new(redis.now().await.0)));
        let mut pair = Self {
            redis,
            ours: redis.store(),
            memory: MemoryStock::new(clock.clone()),
            clock,
            sale: sale(&format!("sale-{n}")),
            highest: 0,
            version: 1,
            written: None,
            writers: [None, None],
        };
        let terms = Terms { version_step: 0, opens_in: -1, lasts: 100_000, phase: Phase::Active, limit: 6 };
        pair.apply(&Operation::Rebuild { who: 0, terms, total: 9, live: vec![] }).await?;
        for operation in operations {
            pair.apply(operation).await?;
        }
        pair.compare_everything().await?;
        pair.nothing_is_left_behind().await
    }

    fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    async fn pass(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
        self.redis.pass(millis).await;
        assert!(self.now().0 >= START && self.now() == self.redis.now().await);
    }

    async fn apply(&mut self, operation: &Operation) -> Result<(), String> {
        let sale = self.sale.clone();
        match operation {
            Operation::ReserveRequest { id, buyer, quantity, epoch_step, expires_in } => {
                // No two at the same moment: which of those is older is not specified.
                self.pass(TICK_MS).await;
                let request = ReserveRequest {
                    sale,
                    id: id_of(*id),
                    buyer: buyer_of(*buyer),
                    quantity: *quantity,
                    epoch: Epoch(stepped(self.written.unwrap_or(self.highest), *epoch_step)),
                    expires_at: self.now().plus(*expires_in * TICK_MS),
                };
                both!(self, operation, reserve(&request)).map(drop)
            }
            Operation::Peek(id) => both!(self, operation, peek(&sale, id_of(*id))).map(drop),
            Operation::View => both!(self, operation, view(&sale)).map(drop),
            Operation::Settle(ids) => {
                let ids: Vec<_> = ids.iter().copied().map(id_of).collect();
                both!(self, operation, settle(&sale, &ids)).map(drop)
            }
            Operation::Release(id) => both!(self, operation, release(&sale, id_of(*id))).map(drop),
            Operation::Configure(terms) => {
                let config = self.config(terms);
                both!(self, operation, configure(&sale, &config)).map(drop)
            }
            Operation::SetTotal { total, version_step } => {
                let version = self.next_version(*version_step);
                both!(self, operation, set_total(&sale, *total, version)).map(drop)
            }
            Operation::Snapshot => both!(self, operation, snapshot(&sale)).map(drop),
            Operation::Stale { age, limit } => {
                both!(self, operation, stale(&sale, *age * TICK_MS, *limit)).map(drop)
            }
            Operation::Pass(ticks) => {
                self.pass(*ticks * TICK_MS).await;
                Ok(())
            }
            Operation::LoseKeys => self.lose(Losing::Keys).await,
            Operation::LoseMemory => self.lose(Losing::Memory).await,
            _ => self.rebuild(operation).await,
        }
        .map_err(|why| format!("{why} (at {})", self.now().0 - START))
    }

    async fn rebuild(&mut self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Begin { who, epoch_step } => {
                self.begin(*who, stepped(self.highest, *epoch_step)).await
            }
            Operation::Load { who, live } => self.load(*who, live).await,
            Operation::Finish { who, terms, total, version } => {
                self.finish(*who, terms, *total, *version).await
            }
            Operation::Rebuild { who, terms, total, live } => {
                self.begin(*who, self.highest + 1).await?;
                self.load(*who, live).await?;
                self.finish(*who, terms, *total, 1).await
            }
            other => unreachable!("{other:?} is no step of a rebuild"),
        }
    }

    async fn lose(&mut self, how: Losing) -> Result<(), String> {
        self.memory.lose_everything();
        self.redis.lose_by(how).await;
        if how == Losing::Keys {
            self.written = None;
        }
        Ok(())
    }

    async fn begin(&mut self, who: usize, epoch: u64) -> Result<(), String> {
        let token = u64::try_from(who).expect("small") + 1;
        let rebuild = Rebuild { sale: self.sale.clone(), epoch: Epoch(epoch), token };
        if self.written.is_some_and(|written| written >= epoch) {
            same(&("begin", epoch), self.ours.rebuild_begin(&rebuild).await, Ok(false)).map(drop)?;
        } else {
            both!(self, &("begin", epoch), rebuild_begin(&rebuild)).map(drop)?;
            self.highest = self.highest.max(epoch);
        }
        self.writers[who] = Some(rebuild);
        Ok(())
    }

    async fn load(&mut self, who: usize, live: &[(Id, u8, u32)]) -> Result<(), String> {
        let Some(rebuild) = self.writers[who].clone() else { return Ok(()) };
        let order = |&(id, buyer, quantity): &(Id, u8, u32)| LiveOrder {
            reservation: id_of(id),
            buyer: buyer_of(buyer),
            quantity,
        };
        let live: Vec<_> = live.iter().map(order).collect();
        both!(self, &("load", who), rebuild_load(&rebuild, &live)).map(drop)
    }

    async fn finish(&mut self, who: usize, terms: &Terms, total: u32, version: u64) -> Result<(), String> {
        let Some(rebuild) = self.writers[who].clone() else { return Ok(()) };
        let config = self.config(terms);
        let finished = both!(self, &("finish", who), rebuild_finish(&rebuild, &config, total, version))?;
        if finished == Ok(true) {
            self.written = Some(rebuild.epoch.0);
        }
        Ok(())
    }

    fn next_version(&mut self, step: i64) -> u64 {
        let version = stepped(self.version, step);
        self.version = self.version.max(version);
        version
    }

    fn config(&mut self, terms: &Terms) -> StockConfig {
        let opens_at = self.now().plus(terms.opens_in * TICK_MS);
        StockConfig {
            version: self.next_version(terms.version_step),
            opens_at,
            ends_at: opens_at.plus(terms.lasts * TICK_MS),
            phase: terms.phase,
            per_user_limit: terms.limit,
        }
    }

    async fn compare_everything(&self) -> Result<(), String> {
        both!(self, &"the final counts", snapshot(&self.sale)).map(drop)?;
        both!(self, &"what is stale in the end", stale(&self.sale, 0, 1_000)).map(drop)?;
        for id in (0..IDS).flat_map(|n| [(n, false), (n, true)]) {
            both!(self, &("the final record of", id), peek(&self.sale, id_of(id))).map(drop)?;
        }
        Ok(())
    }

    /// Once every ticket has expired, the server holds the records in force and nothing else.
    async fn nothing_is_left_behind(&self) -> Result<(), String> {
        self.pass(AFTER_ALL_TICKETS_MS).await;
        self.compare_everything().await?;
        let Ok(counts) = self.ours.snapshot(&self.sale).await else { return Ok(()) };
        let mut known = 0;
        for id in (0..IDS).flat_map(|n| [(n, false), (n, true)]) {
            match self.ours.peek(&self.sale, id_of(id)).await {
                Ok(Peek::Reserved(_) | Peek::Settled(_)) => known += 1,
                Ok(Peek::None) => {}
                other => return Err(format!("{id:?}: {other:?} after every ticket has expired")),
            }
        }
        same(&"tombstones kept", self.size("ZCARD", "tombstones").await, 0)?;
        same(&"ages kept", self.size("ZCARD", "ages").await, counts.reservations)?;
        let mut book = redis::cmd("HGETALL");
        book.arg(format!("seckill:{{{}}}:book", self.sale));
        let book: Vec<(Vec<u8>, Vec<u8>)> =
            book.query_async(&mut self.redis.connection()).await.expect("the book");
        let (buyers, records): (Vec<_>, Vec<_>) = book.into_iter().partition(|(field, _)| field[0] == b'@');
        same(&"records kept", records.len(), known)?;
        let units = |(_, units): &(_, Vec<u8>)| String::from_utf8_lossy(units).parse().expect("a number");
        let held: Vec<u32> = buyers.iter().map(units).collect();
        same(&"buyers' units", held.iter().sum(), counts.reserved + counts.settled)?;
        same(&"buyers without units", held.contains(&0), false).map(drop)
    }

    async fn size(&self, command: &str, key: &str) -> u64 {
        let mut command = redis::cmd(command);
        command.arg(format!("seckill:{{{}}}:{key}", self.sale));
        command.query_async(&mut self.redis.connection()).await.expect("a size")
    }
}
