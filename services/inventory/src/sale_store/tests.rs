use std::sync::Arc;

use contract::rules::SaleRules;
use domain::{Clock, Money, Phase, SaleTerms, UnixMillis};

use super::{Edit, IdempotencyKey, SaleRow, SaleStore, SaleStoreError, open};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> UnixMillis {
        UnixMillis(1_000)
    }
}

fn sale(id: &str) -> SaleRow {
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

async fn store(dir: &tempfile::TempDir) -> Arc<dyn SaleStore> {
    open(&format!("sqlite:{}", dir.path().join("s.db").display()), Arc::new(Noon)).await.unwrap()
}

fn key(key: &str, fingerprint: &str) -> IdempotencyKey {
    IdempotencyKey { key: key.into(), fingerprint: fingerprint.into() }
}

#[tokio::test]
async fn a_sale_is_created_once_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(&dir).await;
    first.create(&sale("a"), None).await.unwrap();
    assert!(matches!(first.create(&sale("a"), None).await, Err(SaleStoreError::Conflict(_))));
    drop(first);
    assert_eq!(store(&dir).await.get(&"a".parse().unwrap()).await.unwrap(), sale("a"));
}

#[tokio::test]
async fn an_idempotency_key_makes_a_restock_happen_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
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

#[tokio::test]
async fn an_end_is_final_and_versions_rise_with_every_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
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

#[tokio::test]
async fn rules_are_replaced_as_a_whole_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(&dir).await;
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
    let rules = store(&dir).await.get(&id).await.unwrap().rules;
    assert_eq!(serde_json::to_string(&rules).unwrap(), r#"{"sale_limit":"off"}"#);
}
