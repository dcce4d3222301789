//! What the books must do, tried on each engine: opened twice, as two replicas have them.

use std::any::Any;
use std::sync::Arc;

use domain::{Money, OrderId, UnixMillis};
use futures_util::future::join_all;
use service_kit::SystemClock;
use service_kit::postgres::TestDatabase;

use super::{Books, Fate, open};
use crate::order_store;
use crate::payment::{Charge, ChargeStatus};

const NOW: UnixMillis = UnixMillis(1_000_000);
/// Longer than any delivery takes.
const LATER: UnixMillis = UnixMillis(1_060_000);

struct Replicas {
    books: [Box<dyn Books>; 2],
    _keeps: Box<dyn Any>,
}

impl Replicas {
    async fn open(url: &str, keeps: impl Any) -> Self {
        // The tables come with the ledger's.
        order_store::open(url, Arc::new(SystemClock)).await.unwrap();
        Self { books: [open(url).await.unwrap(), open(url).await.unwrap()], _keeps: Box::new(keeps) }
    }

    /// Enters the n-th charge.
    async fn charge(&self, n: u8) -> String {
        let charge = Charge {
            reference: format!("pay-{n}"),
            order: OrderId::from_bytes([n; 16]),
            sale: "lamp".parse().unwrap(),
            amount: Money { cents: 1_999, currency: "EUR".parse().unwrap() },
            pay_by: NOW,
        };
        for books in &self.books {
            books.open_charge(&charge).await.unwrap();
        }
        charge.reference
    }
}

async fn a_charge_is_decided_once(replicas: Replicas) {
    for n in 0..20 {
        let reference = replicas.charge(n).await;
        let entry = replicas.books[0].find(&reference).await.unwrap().unwrap();
        let fates = [Fate::Captured, Fate::Failed];
        let decided = join_all((0..2).map(|r| replicas.books[r].decide(&entry, fates[r], NOW))).await;
        let winners: Vec<_> = decided.into_iter().map(Result::unwrap).collect();
        assert_eq!(winners.iter().flatten().count(), 1, "one event");
        let status = replicas.books[1].find(&reference).await.unwrap().unwrap().status();
        assert_eq!(matches!(status, ChargeStatus::Captured { .. }), winners[0].is_some());
    }
    assert!(replicas.books[0].find("pay-99").await.unwrap().is_none());
}

async fn a_scheduled_capture_happens_once_when_it_is_due(replicas: Replicas) {
    let reference = replicas.charge(1).await;
    let [one, two] = &replicas.books;
    let entry = one.find(&reference).await.unwrap().unwrap();
    one.schedule(&entry, UnixMillis(NOW.0 + 5)).await.unwrap();
    assert!(two.find(&reference).await.unwrap().unwrap().scheduled);
    assert_eq!(one.capture_due(NOW).await.unwrap(), []);
    let due = UnixMillis(NOW.0 + 5);
    let (first, second) = tokio::join!(one.capture_due(due), two.capture_due(due));
    assert_eq!(first.unwrap().len() + second.unwrap().len(), 1);
    one.refund(&reference).await.unwrap();
}

async fn an_event_is_delivered_until_it_was_heard(replicas: Replicas) {
    let reference = replicas.charge(1).await;
    let [one, two] = &replicas.books;
    let entry = one.find(&reference).await.unwrap().unwrap();
    let webhook = one.decide(&entry, Fate::Captured, NOW).await.unwrap().unwrap();
    assert_eq!(two.undelivered(LATER, 9).await.unwrap(), std::slice::from_ref(&webhook), "nobody heard it");
    two.delivered(&webhook).await.unwrap();
    assert_eq!(one.undelivered(UnixMillis(LATER.0 * 2), 9).await.unwrap(), []);
}

/// In a file there is one owner, and nothing to hold.
async fn an_event_is_held_by_who_delivers_it(replicas: Replicas) {
    let reference = replicas.charge(1).await;
    let [one, two] = &replicas.books;
    let entry = one.find(&reference).await.unwrap().unwrap();
    one.decide(&entry, Fate::Captured, NOW).await.unwrap().unwrap();
    assert_eq!(two.undelivered(NOW, 9).await.unwrap(), [], "whoever decided is about to deliver");
    let (first, second) = tokio::join!(one.undelivered(LATER, 9), two.undelivered(LATER, 9));
    assert_eq!(first.unwrap().len() + second.unwrap().len(), 1);
}

mod in_a_file {
    use super::*;

    async fn replicas() -> Replicas {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
        Replicas::open(&url, folder).await
    }

    #[tokio::test]
    async fn a_charge_is_decided_once() {
        super::a_charge_is_decided_once(replicas().await).await;
    }

    #[tokio::test]
    async fn a_scheduled_capture_happens_once_when_it_is_due() {
        super::a_scheduled_capture_happens_once_when_it_is_due(replicas().await).await;
    }

    #[tokio::test]
    async fn an_event_is_delivered_until_it_was_heard() {
        super::an_event_is_delivered_until_it_was_heard(replicas().await).await;
    }
}

mod on_a_server {
    use super::*;

    async fn replicas() -> Replicas {
        let database = TestDatabase::create().await;
        Replicas::open(&database.url(), database).await
    }

    #[tokio::test]
    #[ignore = "needs Postgres: cargo xtask test runs it"]
    async fn a_charge_is_decided_once() {
        super::a_charge_is_decided_once(replicas().await).await;
    }

    #[tokio::test]
    #[ignore = "needs Postgres: cargo xtask test runs it"]
    async fn a_scheduled_capture_happens_once_when_it_is_due() {
        super::a_scheduled_capture_happens_once_when_it_is_due(replicas().await).await;
    }

    #[tokio::test]
    #[ignore = "needs Postgres: cargo xtask test runs it"]
    async fn an_event_is_delivered_until_it_was_heard() {
        super::an_event_is_delivered_until_it_was_heard(replicas().await).await;
    }

    #[tokio::test]
    #[ignore = "needs Postgres: cargo xtask test runs it"]
    async fn an_event_is_held_by_who_delivers_it() {
        super::an_event_is_held_by_who_delivers_it(replicas().await).await;
    }
}
