//! Faults of what lies in the broker.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::payments::Races;
use super::scene::Scene;
use crate::engines::rabbitmq::RabbitMq;
use crate::run::{Outcome, pause};
use crate::stack::Role;

/// The default virtual host, as the management API writes it.
const HOST: &str = "%2F";
const ORDERS: &str = "seckill.orders";
const EVENTS: &str = "seckill.events";
/// A queue that hears all events for a while, and how many of them it keeps: the last ones. While they are
/// picked out, it is emptied so often.
const HEARD: &str = "faults.heard";
const HEARD_MAX: u32 = 500;
const HEAR_EVERY: Duration = Duration::from_millis(250);
/// When the races have been run: all tickets of cancelled orders have been sent again, and none of them has expired.
const RACED: Duration = Duration::from_secs(8);
/// Messages that a lane holds while it is too small.
const SMALL_LANE: u32 = 200;

/// The lanes' bindings are deleted, and bound again after a while.
pub(super) fn binding_deleted(scene: &mut Scene<'_>) -> Outcome {
    let rabbitmq = &scene.stack.engines.rabbitmq;
    let path = format!("/api/exchanges/{HOST}/{ORDERS}/bindings/source");
    let bindings = rabbitmq.api("GET", &path, "")?;
    let bindings = bindings.as_array().filter(|all| !all.is_empty()).ok_or("no lane is bound")?.clone();
    let word = |binding: &Value, name: &str| binding[name].as_str().unwrap_or_default().to_owned();
    let of = |binding: &Value| format!("/api/bindings/{HOST}/e/{ORDERS}/q/{}", word(binding, "destination"));
    for binding in &bindings {
        rabbitmq.api("DELETE", &format!("{}/{}", of(binding), word(binding, "properties_key")), "")?;
    }
    pause(Duration::from_secs(3));
    for binding in &bindings {
        let body = json!({"routing_key": word(binding, "routing_key"), "arguments": binding["arguments"]});
        rabbitmq.api("POST", &of(binding), &body.to_string())?;
    }
    Ok(())
}

/// Lanes hold next to nothing while nobody consumes.
pub(super) fn lane_full(scene: &mut Scene<'_>) -> Outcome {
    let path = format!("/api/policies/{HOST}/small-lanes");
    let policy = json!({"pattern": "^seckill\\.orders\\.lane-", "apply-to": "queues",
        "definition": {"max-length": SMALL_LANE, "overflow": "reject-publish"}});
    scene.stack.engines.rabbitmq.api("PUT", &path, &policy.to_string())?;
    scene.service(Role::Order, 0)?.pause()?;
    pause(Duration::from_secs(5));
    scene.service(Role::Order, 0)?.resume()?;
    scene.stack.engines.rabbitmq.api("DELETE", &path, "").map(|_| ())
}

/// Nonsense among good messages, in every lane.
pub(super) fn poison(scene: &mut Scene<'_>) -> Outcome {
    let rabbitmq = &scene.stack.engines.rabbitmq;
    let path = format!("/api/exchanges/{HOST}/{ORDERS}/bindings/source");
    let bindings = rabbitmq.api("GET", &path, "")?;
    for binding in bindings.as_array().into_iter().flatten() {
        let nonsense = json!({"routing_key": binding["routing_key"], "payload": "no message of ours",
            "payload_encoding": "string", "properties": {"delivery_mode": 2}});
        let publish = format!("/api/exchanges/{HOST}/{ORDERS}/publish");
        rabbitmq.api("POST", &publish, &nonsense.to_string())?;
    }
    Ok(())
}

/// Orders are paid, cancelled and expire beside the storm. Then comes again what was told of them, and the last that
/// was told of the storm's: what gave units back before what took them.
pub(super) fn events_again(scene: &mut Scene<'_>) -> Outcome {
    let races = Races::begin(scene, &[])?;
    let mut ear = Ear::new(&scene.stack.engines.rabbitmq)?;
    ear.hear_races(&scene.sale)?;
    pause(HEAR_EVERY);
    ear.hear(|_| true)?;
    ear.repeat()?;
    races.end()
}

/// Orders are cancelled beside the storm, and their tickets sent again. Then comes again what was told of them:
/// what took each unit after what gave it back.
pub(super) fn tickets_again(scene: &mut Scene<'_>) -> Outcome {
    let races = Races::begin(scene, &["--click-again"])?;
    let mut ear = Ear::new(&scene.stack.engines.rabbitmq)?;
    ear.hear_races(&scene.sale)?;
    ear.repeat()?;
    races.end()
}

/// Hears all events for as long as it lives.
struct Ear<'a> {
    rabbitmq: &'a RabbitMq,
    heard: Vec<Value>,
}

impl<'a> Ear<'a> {
    fn new(rabbitmq: &'a RabbitMq) -> Outcome<Self> {
        let arguments = json!({"arguments": {"x-max-length": HEARD_MAX}}).to_string();
        rabbitmq.api("PUT", &format!("/api/queues/{HOST}/{HEARD}"), &arguments)?;
        let binding = format!("/api/bindings/{HOST}/e/{EVENTS}/q/{HEARD}");
        rabbitmq.api("POST", &binding, &json!({"routing_key": "#"}).to_string())?;
        Ok(Self { rabbitmq, heard: Vec::new() })
    }

    /// Takes what came since the last time, and keeps what `wanted` says of its text.
    fn hear(&mut self, wanted: impl Fn(&str) -> bool) -> Outcome {
        let look = json!({"count": HEARD_MAX, "ackmode": "ack_requeue_false", "encoding": "auto"});
        let came =
            self.rabbitmq.api("POST", &format!("/api/queues/{HOST}/{HEARD}/get"), &look.to_string())?;
        let came = came.as_array().cloned().unwrap_or_default();
        self.heard.extend(came.into_iter().filter(|e| wanted(e["payload"].as_str().unwrap_or_default())));
        Ok(())
    }

    /// Keeps what is told while the races are run, but for what is told of the storm's sale.
    fn hear_races(&mut self, storm: &str) -> Outcome {
        let began = Instant::now();
        while began.elapsed() < RACED {
            pause(HEAR_EVERY);
            self.hear(|event| !event.contains(storm))?;
        }
        Ok(())
    }

    /// Tells it all again, the last one first.
    fn repeat(self) -> Outcome {
        if self.heard.is_empty() {
            return Err("no event was heard".into());
        }
        for event in self.heard.iter().rev() {
            let again = json!({"routing_key": event["routing_key"], "payload": event["payload"],
                "payload_encoding": event["payload_encoding"], "properties": event["properties"]});
            let publish = format!("/api/exchanges/{HOST}/{EVENTS}/publish");
            self.rabbitmq.api("POST", &publish, &again.to_string())?;
        }
        Ok(())
    }
}

impl Drop for Ear<'_> {
    fn drop(&mut self) {
        let _ = self.rabbitmq.api("DELETE", &format!("/api/queues/{HOST}/{HEARD}"), "");
    }
}
