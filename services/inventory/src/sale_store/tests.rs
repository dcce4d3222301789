//! What every sale store must do, tried on each.

use std::any::Any;
use std::sync::Arc;

use contract::rules::SaleRules;
use domain::{Clock, Money, Phase, SaleTerms, UnixMillis};
use futures_util::future::join_all;
use service_kit::postgres::TestDatabase;
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::{Edit, IdempotencyKey, SaleRow, SaleStore, SaleStoreError, open};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> UnixMillis {
        UnixMillis(1_000)
    }
}

pub(crate) fn sale(id: &str) -> SaleRow {
    SaleRow {
        id: id.parse().unwrap(),
        terms: SaleTerms {
            title: "Lamp".into(),
            price: Money { cents: 100, currency: "EUR".parse().unwrap() },
            stock: 5,
            per_user_limit: 1,
            opens_at: UnixMillis(500),
            ends_at: UnixMillis(2_000),
            pay_within_s: 60,
        },
        phase: Phase::Active,
        slug: format!("slug-{id}"),
        version: 1,
        total_version: 1,
        created_at: UnixMillis(1_000),
        rules: SaleRules::default(),
    }
}

/// A database that a store can be opened on, again and again.
struct Place {
    url: String,
    _keeps: Box<dyn Any>,
}

impl Place {
    fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("s.db").display());
        Self { url, _keeps: Box::new(folder) }
    }

    async fn server() -> Self {
        let database = TestDatabase::create().await;
        Self { url: database.url(), _keeps: Box::new(database) }
    }

    async fn store(&self) -> Arc<dyn SaleStore> {
        open(&self.url, Arc::new(Noon)).await.unwrap()
    }

    /// Does this to the database, past the store.
    async fn does(&self, sql: &'static str) {
        if self.url.starts_with("sqlite:") {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
    }
}

fn key(key: &str, fingerprint: &str) -> IdempotencyKey {
    IdempotencyKey { key: key.into(), fingerprint: fingerprint.into() }
}

async fn a_sale_is_created_once_and_survives_a_restart(place: Place) {
    let first = place.store().await;
    first.create(&sale("a"), None).await.unwrap();
    assert!(matches!(first.create(&sale("a"), None).await, Err(SaleStoreError::Conflict(_))));
    drop(first);
    assert_eq!(place.store().await.get(&"a".parse().unwrap()).await.unwrap(), sale("a"));
}

async fn an_idempotency_key_makes_a_restock_happen_once(place: Place) {
    let store = place.store().await;
    store.create(&sale("a"), Some(&key("k1", "create a"))).await.unwrap();
    let again = store.create(&sale("b"), Some(&key("k1", "create a"))).await.unwrap();
    assert_eq!(again.id.as_str(), "a", "the same key answers what it made");
    let id = "a".parse().unwrap();
    for _ in 0..2 {
        let row = store.edit(&id, &Edit::Restock(3), Some(&key("k2", "restock 3"))).await.unwrap();
        assert_eq!((row.terms.stock, row.total_version), (8, 2));
    }
    let other = store.edit(&id, &Edit::Restock(4), Some(&key("k2", "restock 4"))).await;
    assert!(matches!(other, Err(SaleStoreError::Conflict(_))));
}

async fn an_end_is_final_and_versions_rise_with_every_change(place: Place) {
    let store = place.store().await;
    let id = "a".parse().unwrap();
    store.create(&sale("a"), None).await.unwrap();
    assert_eq!(store.edit(&id, &Edit::Phase(Phase::Paused), None).await.unwrap().version, 2);
    assert_eq!(store.edit(&id, &Edit::Phase(Phase::Paused), None).await.unwrap().version, 2, "no change");
    let bad = Edit::Terms { title: None, opens_at: Some(UnixMillis(3_000)), ends_at: None, rules: None };
    assert!(matches!(store.edit(&id, &bad, None).await, Err(SaleStoreError::Terms(_))));
    assert_eq!(store.edit(&id, &Edit::Phase(Phase::Ended), None).await.unwrap().version, 3);
    for edit in [Edit::Phase(Phase::Active), Edit::Restock(1)] {
        assert!(matches!(store.edit(&id, &edit, None).await, Err(SaleStoreError::Conflict(_))));
    }
}

async fn rules_are_replaced_as_a_whole_and_survive_a_restart(place: Place) {
    let first = place.store().await;
    let id = "a".parse().unwrap();
    first.create(&sale("a"), None).await.unwrap();
    let edit = |rules: &str| Edit::Terms {
        title: None,
        opens_at: None,
        ends_at: None,
        rules: Some(serde_json::from_str(rules).unwrap()),
    };
    let row = first.edit(&id, &edit(r#"{"buyer_limit":"5/1","captcha":true}"#), None).await.unwrap();
    assert_eq!(row.version, 2, "gateways see that something changed");
    first.edit(&id, &edit(r#"{"sale_limit":"off"}"#), None).await.unwrap();
    drop(first);
    let rules = place.store().await.get(&id).await.unwrap().rules;
    assert_eq!(serde_json::to_string(&rules).unwrap(), r#"{"sale_limit":"off"}"#);
}

async fn changes_made_at_once_are_all_kept(place: Place) {
    let stores = [place.store().await, place.store().await];
    let id = "a".parse().unwrap();
    let made = join_all(stores.iter().map(|s| {
        let key = key("k", "create a");
        async move { s.create(&sale("a"), Some(&key)).await.map(|row| row.id) }
    }));
    for made in made.await {
        assert_eq!(made.unwrap(), id, "the same key answers what it made");
    }
    let restocks = (0..20).map(|n| {
        let (store, id) = (&stores[n % 2], &id);
        async move { store.edit(id, &Edit::Restock(1), Some(&key(&format!("r{}", n / 2), "one more"))).await }
    });
    for done in join_all(restocks).await {
        done.unwrap();
    }
    let row = stores[0].get(&id).await.unwrap();
    assert_eq!((row.terms.stock, row.total_version), (15, 11), "ten keys, each used on both");
}

async fn what_cannot_be_read_is_refused_and_no_outage(place: Place) {
    let store = place.store().await;
    store.create(&sale("a"), None).await.unwrap();
    place.does("update inventory_sales set rules = 'nonsense'").await;
    for answer in [store.get(&"a".parse().unwrap()).await.map(drop), store.all().await.map(drop)] {
        assert!(matches!(answer, Err(SaleStoreError::Refused(_))), "{answer:?}");
    }
}

macro_rules! on_both {
    ($($rule:ident,)*) => {
        mod in_a_file {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(super::Place::file()).await;
            })*
        }

        mod on_a_server {
            $(#[tokio::test]
            #[ignore = "needs Postgres: cargo xtask test runs it"]
            async fn $rule() {
                super::$rule(super::Place::server().await).await;
            })*
        }
    };
}

on_both!(
    a_sale_is_created_once_and_survives_a_restart,
    an_idempotency_key_makes_a_restock_happen_once,
    an_end_is_final_and_versions_rise_with_every_change,
    rules_are_replaced_as_a_whole_and_survive_a_restart,
    changes_made_at_once_are_all_kept,
    what_cannot_be_read_is_refused_and_no_outage,
);

/// Afterwards no connection is left in a transaction that failed to begin.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn a_database_that_does_not_answer_in_time_is_unavailable_until_it_does() {
    let place = Place::server().await;
    let (store, id) = (place.store().await, "a".parse().unwrap());
    store.create(&sale("a"), None).await.unwrap();
    let mut other = PgConnection::connect(&place.url).await.unwrap();
    let lock = other.begin_with("begin; lock table inventory_sales in access exclusive mode").await.unwrap();
    let (pause, another) = (Edit::Phase(Phase::Paused), sale("b"));
    let (read, changed, created) =
        tokio::join!(store.get(&id), store.edit(&id, &pause, None), store.create(&another, None));
    for answer in [read, changed, created] {
        assert!(matches!(answer, Err(SaleStoreError::Unavailable(_))), "{answer:?}");
    }
    lock.rollback().await.unwrap();
    // At once, so that each of those connections is used again.
    for read in join_all((0..4).map(|_| store.get(&id))).await {
        assert_eq!(read.unwrap(), sale("a"));
    }
}

#[tokio::test]
async fn an_unknown_scheme_is_named_and_nothing_else_of_the_url() {
    let error = open("mysql://user:secret@host/db", Arc::new(Noon)).await.err().unwrap().to_string();
    assert!(error.contains("mysql") && !error.contains("secret"), "{error}");
}
