//! The definitions file says what the code declares, and so does the broker.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "support/rabbit.rs"]
mod rabbit;

use std::path::Path;

use messaging::rabbitmq::{LANES_DEFAULT, RabbitOptions, definitions};
use messaging::topology::Limits;
use rabbit::Vhost;
use serde_json::{Value, json};

const FILE: &str = "../../infra/rabbitmq/definitions.json";

#[test]
fn the_definitions_file_says_what_the_code_declares() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let shipped: Value = serde_json::from_str(&text).unwrap();
    let declared = definitions("/", LANES_DEFAULT, &Limits::default());
    assert!(
        shipped == declared,
        "write it anew: cargo run -p messaging --example rabbit_definitions > infra/rabbitmq/definitions.json"
    );
}

/// What the broker has, in the definitions' own words and order.
fn exported(vhost: &Vhost, kind: &str, like: &Value) -> Vec<Value> {
    let all = vhost.api.get(&format!("/{kind}/{}", vhost.name));
    let mut found: Vec<Value> = all
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| {
            ["name", "source"].iter().any(|key| one[*key].as_str().is_some_and(|n| n.starts_with("seckill.")))
        })
        .map(|one| like.as_object().unwrap().keys().map(|key| (key.clone(), one[key].clone())).collect())
        .collect();
    found.sort_by_key(Value::to_string);
    found
}

fn sorted(list: &Value) -> Vec<Value> {
    let mut list = list.as_array().unwrap().clone();
    list.sort_by_key(Value::to_string);
    list
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn the_broker_has_what_the_definitions_say() {
    let vhost = Vhost::new();
    let options = RabbitOptions { lanes: 2, ..RabbitOptions::default() };
    let _broker = vhost.open(options.clone()).await;
    let declared = definitions(&vhost.name, options.lanes, &options.limits);
    for kind in ["exchanges", "queues", "bindings"] {
        assert_eq!(exported(&vhost, kind, &declared[kind][0]), sorted(&declared[kind]), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ: cargo xtask test runs it"]
async fn services_agree_with_a_broker_set_up_from_the_definitions() {
    let vhost = Vhost::new();
    let options = RabbitOptions { lanes: 2, ..RabbitOptions::default() };
    let definitions = definitions(&vhost.name, options.lanes, &options.limits);
    let (status, body) = vhost.api.ask("POST", "/definitions", &json!(definitions).to_string());
    assert!(status < 300, "{status}: {body}");
    let broker = vhost.open(options).await;
    assert_eq!(broker.readiness(), Ok(()));
}
