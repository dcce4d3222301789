//! The topology as a definitions file, for brokers that are set up before the services come.

use lapin::ExchangeKind;
use serde_json::{Map, Value as Json, json};

use super::plan::{Arguments, Plan, Value};
use crate::topology::Limits;

/// The topology with this many lanes and these limits, in the format that `rabbitmqctl
/// import_definitions` reads; for the virtual host `vhost`.
#[must_use]
pub fn definitions(vhost: &str, lanes: u16, limits: &Limits) -> Json {
    let plan = Plan::new(lanes, limits);
    let exchanges = plan.exchanges.iter().map(|exchange| {
        json!({
            "name": exchange.name, "vhost": vhost, "type": kind(&exchange.kind),
            "durable": true, "auto_delete": false, "internal": false, "arguments": {},
        })
    });
    let queues = plan.queues.iter().map(|queue| {
        json!({
            "name": queue.name, "vhost": vhost, "durable": true, "auto_delete": false,
            "arguments": object(&queue.arguments),
        })
    });
    let bindings = plan.bindings.iter().map(|binding| {
        json!({
            "source": binding.exchange, "vhost": vhost, "destination": binding.queue,
            "destination_type": "queue", "routing_key": binding.key,
            "arguments": object(&binding.arguments),
        })
    });
    json!({
        "vhosts": [{ "name": vhost }],
        "exchanges": exchanges.collect::<Vec<_>>(),
        "queues": queues.collect::<Vec<_>>(),
        "bindings": bindings.collect::<Vec<_>>(),
    })
}

fn kind(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Custom(name) => name,
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Topic => "topic",
    }
}

fn object(arguments: &Arguments) -> Map<String, Json> {
    arguments
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Value::Text(text) => json!(text),
                Value::Number(number) => json!(number),
                Value::Flag(flag) => json!(flag),
            };
            ((*name).to_owned(), value)
        })
        .collect()
}
