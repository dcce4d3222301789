//! A sale whose stock store says nothing, or only errors, and the sales beside it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use contract::events::Change;
use futures_util::FutureExt;
use stock::{Held, Rebuild, Released, SaleView, Snapshot, StockConfig};
use tokio::time::timeout;

use super::held::until;
use super::*;
use crate::events;
use crate::reconcile;
use crate::sale_store::SaleRow;
use crate::sale_store::tests::sale;

/// How long a state may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the lamp's node behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Silent,
    Failing,
}

/// A stock store, one of whose nodes has the lamp and nothing else. It keeps what it has, and does not answer what a
/// release or a fence needs.
struct Cluster {
    inner: Arc<MemoryStock>,
    lamps: Node,
    asked: AtomicUsize,
}

impl Cluster {
    async fn answers<T>(
        &self,
        sale: &SaleId,
        answer: impl Future<Output = Result<T, StockError>>,
    ) -> Result<T, StockError> {
        if sale.as_str() != "lamp" {
            return answer.await;
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.lamps {
            Node::Silent => std::future::pending().await,
            Node::Failing => Err(StockError::Unreachable("cut by the test".into())),
        }
    }
}

#[async_trait]
impl StockStore for Cluster {
    async fn reserve(&self, request: &ReserveRequest) -> Result<ReserveOutcome, StockError> {
        self.inner.reserve(request).await
    }
    async fn peek(&self, sale: &SaleId, id: ReservationId) -> Result<Peek, StockError> {
        self.inner.peek(sale, id).await
    }
    async fn view(&self, sale: &SaleId) -> Result<SaleView, StockError> {
        self.inner.view(sale).await
    }
    async fn settle(&self, sale: &SaleId, ids: &[ReservationId]) -> Result<(), StockError> {
        self.inner.settle(sale, ids).await
    }
    async fn release(&self, sale: &SaleId, id: ReservationId) -> Result<Released, StockError> {
        self.answers(sale, self.inner.release(sale, id)).await
    }
    async fn configure(&self, sale: &SaleId, config: &StockConfig) -> Result<Change, StockError> {
        self.inner.configure(sale, config).await
    }
    async fn set_total(&self, sale: &SaleId, total: u32, version: u64) -> Result<Released, StockError> {
        self.inner.set_total(sale, total, version).await
    }
    async fn snapshot(&self, sale: &SaleId) -> Result<Snapshot, StockError> {
        self.inner.snapshot(sale).await
    }
    async fn stale(&self, sale: &SaleId, age_ms: i64, limit: usize) -> Result<Vec<Held>, StockError> {
        self.answers(sale, self.inner.stale(sale, age_ms, limit)).await
    }
    async fn rebuild_begin(&self, rebuild: &Rebuild) -> Result<bool, StockError> {
        self.inner.rebuild_begin(rebuild).await
    }
    async fn rebuild_load(&self, rebuild: &Rebuild, live: &[LiveOrder]) -> Result<bool, StockError> {
        self.inner.rebuild_load(rebuild, live).await
    }
    async fn rebuild_finish(
        &self,
        rebuild: &Rebuild,
        config: &StockConfig,
        total: u32,
        total_version: u64,
    ) -> Result<bool, StockError> {
        self.inner.rebuild_finish(rebuild, config, total, total_version).await
    }
    async fn ping(&self) -> Result<(), StockError> {
        self.inner.ping().await
    }
}

impl Stage {
    /// The stage with the lamp on a node of its own.
    async fn with_a_node_that_is(lamps: Node) -> (Self, Arc<Cluster>) {
        let mut stage = Self::open().await;
        let cluster = Arc::new(Cluster { inner: stage.stock.clone(), lamps, asked: AtomicUsize::new(0) });
        Arc::get_mut(&mut stage.inventory).expect("nobody else has it yet").stock = cluster.clone();
        (stage, cluster)
    }

    /// A second sale, whose stock was lost. By its id it comes behind the lamp.
    async fn vase_without_stock(&self) -> SaleRow {
        let mut row = sale("vase");
        (row.terms.opens_at, row.terms.ends_at) = (UnixMillis(NOW.0 - 2_000), UnixMillis(NOW.0 + 3_600_000));
        self.inventory.sales.create(&row, None).await.unwrap()
    }

    /// The same with its stock, and with a settled order of each of these numbers.
    async fn vase(&self, orders: u8) -> SaleId {
        let row = self.vase_without_stock().await;
        let rebuild = Rebuild { sale: row.id.clone(), epoch: Epoch(1), token: 1 };
        assert_eq!(self.stock.rebuild_begin(&rebuild).await, Ok(true));
        let orders: Vec<_> = (0..orders).map(|n| live(n, &format!("b{n}"))).collect();
        assert_eq!(self.stock.rebuild_load(&rebuild, &orders).await, Ok(true));
        assert_eq!(self.stock.rebuild_finish(&rebuild, &row.stock_config(), 5, 1).await, Ok(true));
        row.id
    }
}

#[tokio::test]
async fn a_silent_node_takes_no_time_from_other_sales_events() {
    let (stage, _) = Stage::with_a_node_that_is(Node::Silent).await;
    let vase = stage.vase(3).await;
    let expired =
        |sale: &SaleId, n| Event { sale: sale.clone(), ..told(&stage, EventKind::OrderExpired, 1, n, "b") };
    let mut held: VecDeque<_> =
        [expired(&stage.sale, 9), expired(&vase, 0), expired(&vase, 1), expired(&vase, 2)]
            .into_iter()
            .zip(1..)
            .map(|(event, tag)| (tag, Some(event)))
            .collect();
    let mut applied = std::pin::pin!(events::apply(&stage.inventory, held.iter_mut(), &stage.shutdown));
    until("the vase's units are back", async || {
        assert!(applied.as_mut().now_or_never().is_none(), "the lamp says nothing");
        stage.free(&vase).await == 5
    })
    .await;
}

#[tokio::test]
async fn an_event_is_given_up_at_its_first_failure() {
    let (stage, cluster) = Stage::with_a_node_that_is(Node::Failing).await;
    let one = told(&stage, EventKind::OrderExpired, 1, 1, "ann");
    let orders = vec![one.orders[0].clone(); 500];
    assert!(stage.inventory.apply(&Event { orders, ..one }).await.is_err());
    let asked = cluster.asked.load(Ordering::SeqCst);
    assert!((1..=events::RELEASING_MAX).contains(&asked), "asked {asked} times");
}

#[tokio::test]
async fn a_lost_sale_is_found_and_a_stop_is_heard_while_another_sales_fences_stand_still() {
    let (stage, cluster) = Stage::with_a_node_that_is(Node::Silent).await;
    // It opened before the lamp, whose turn is first.
    let lost = stage.vase_without_stock().await.id;
    stage.play_consumer(2);
    let every = Duration::from_millis(10);
    let running = tokio::spawn(reconcile::run(stage.inventory.clone(), every, stage.shutdown.clone()));
    until("the lamp's fences stand still", async || cluster.asked.load(Ordering::SeqCst) > 0).await;
    until("the vase sells again", async || {
        stage.stock.snapshot(&lost).await.is_ok_and(|vase| vase.free == 5)
    })
    .await;
    stage.shutdown.cancel();
    timeout(PATIENCE, running).await.expect("it hears the stop").unwrap();
}
