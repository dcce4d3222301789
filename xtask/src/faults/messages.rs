//! Faults of what lies in the broker.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::engines;
use super::evidence::Effect;
use super::payments::Races;
use super::scene::Scene;
use crate::engines::rabbitmq::RabbitMq;
use crate::run::{Outcome, pause, wait_for};
use crate::stack::Role;

/// The default virtual host, as the management API writes it.
const HOST: &str = "%2F";
const ORDERS: &str = "seckill.orders";
const EVENTS: &str = "seckill.events";
/// How the lanes' names begin, the queue of events that inventory takes, and the dead letters that were rejected.
const LANES: &str = "seckill.orders.lane-";
const INVENTORY: &str = "seckill.inventory";
const REJECTED: &str = "seckill.dead.rejected";
/// Dead letters looked at, and how long they may take to come.
const LETTERS_MAX: u32 = 1_000;
const DEAD_S_MAX: Duration = Duration::from_secs(10);
/// Until orders stand in line: more of them than the prefetch, and the broker must have told it.
const LINE_S_MAX: Duration = Duration::from_secs(30);
/// Between two looks at what the broker says.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// From the opening of the races' sale until orders of it are about to be paid, cancelled or to expire, and for how long
/// nothing of that reaches inventory.
const UNTIL_ENDS: Duration = Duration::from_secs(2);
const UNBOUND: Duration = Duration::from_secs(5);
/// A queue that hears all events for a while, and how many of them it keeps: the last ones. While they are
/// picked out, it is emptied so often.
const HEARD: &str = "faults.heard";
const HEARD_MAX: u32 = 500;
const HEAR_EVERY: Duration = Duration::from_millis(250);
/// No event is longer.
const EVENT_BYTES_MAX: u32 = 8 << 20;
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

/// What nobody can process among good messages, in every lane: a text that is no message, and an order that can be read
/// and never committed, for its sale has no allocation. The batch that holds such a one fails as a whole, and is halved
/// until it is found.
pub(super) fn poison(scene: &mut Scene<'_>) -> Outcome {
    let nowhere = format!("nowhere-{}", scene.below(u64::MAX));
    let rabbitmq = &scene.stack.engines.rabbitmq;
    let path = format!("/api/exchanges/{HOST}/{ORDERS}/bindings/source");
    let bindings = rabbitmq.api("GET", &path, "")?;
    for (n, binding) in bindings.as_array().into_iter().flatten().enumerate() {
        let order = json!({"kind": "order", "order": format!("018f0000-0000-7000-8000-{n:012x}"), "sale": nowhere,
            "buyer": "nobody", "quantity": 1, "epoch": 1, "reserved_at": 1});
        for payload in ["no message of ours".to_owned(), order.to_string()] {
            let message = json!({"routing_key": binding["routing_key"], "payload": payload,
                "payload_encoding": "string", "properties": {"delivery_mode": 2}});
            let publish = format!("/api/exchanges/{HOST}/{ORDERS}/publish");
            rabbitmq.api("POST", &publish, &message.to_string())?;
        }
    }
    let found = || letters_about(&scene.stack.engines.rabbitmq, &nowhere);
    let wanted = bindings.as_array().map_or(0, Vec::len);
    // Those that do not come are no failure of the run: its effect is missing.
    let _ = wait_for("the orders of no sale among the dead letters", DEAD_S_MAX, || {
        pause(LOOK_EVERY);
        found().is_ok_and(|n| n >= wanted)
    });
    let found = u32::try_from(found()?).unwrap_or(u32::MAX);
    scene.note(Effect::Uncommittable, found.into());
    Ok(())
}

/// The dead letters that were rejected and whose text has this word. They are looked at, and stay.
fn letters_about(rabbitmq: &RabbitMq, word: &str) -> Outcome<usize> {
    let look = json!({"count": LETTERS_MAX, "ackmode": "ack_requeue_true", "encoding": "auto"});
    let letters = rabbitmq.api("POST", &format!("/api/queues/{HOST}/{REJECTED}/get"), &look.to_string())?;
    let texts = letters.as_array().into_iter().flatten().filter_map(|letter| letter["payload"].as_str());
    Ok(texts.filter(|text| text.contains(word)).count())
}

/// Consumers stand still until confirmed orders stand in the lanes that no consumer has been sent; then the broker is
/// killed. What it confirmed must be on its disk.
pub(super) fn broker_killed_in_line(scene: &mut Scene<'_>) -> Outcome {
    scene.service(Role::Order, 0)?.pause()?;
    let rabbitmq = &scene.stack.engines.rabbitmq;
    let mut ready = 0.0;
    wait_for("orders standing in line", LINE_S_MAX, || {
        pause(LOOK_EVERY);
        ready = in_line(rabbitmq).unwrap_or(0.0);
        ready > 0.0
    })?;
    engines::rabbitmq_killed(scene)?;
    scene.note(Effect::InLine, ready);
    scene.service(Role::Order, 0)?.resume()
}

/// Messages in the lanes that have not been sent to any consumer. The broker tells it every few seconds; while nobody
/// consumes, it only grows.
fn in_line(rabbitmq: &RabbitMq) -> Outcome<f64> {
    let queues = rabbitmq.api("GET", "/api/queues", "")?;
    let lanes = queues.as_array().into_iter().flatten();
    let lanes = lanes.filter(|queue| queue["name"].as_str().is_some_and(|name| name.starts_with(LANES)));
    Ok(lanes.filter_map(|lane| lane["messages_ready"].as_f64()).sum())
}

/// Inventory's bindings are deleted for a while, beside payments, cancels and expiry, and again whenever a service has
/// declared them anew. What is told meanwhile never reaches inventory: a lost settle is fenced and told again, a lost
/// release leaves the stores disagreeing until both have stood still for long. The races' verdict waits for that.
pub(super) fn events_unbound(scene: &mut Scene<'_>) -> Outcome {
    let races = Races::begin(scene, &[])?;
    races.opened(scene)?;
    pause(UNTIL_ENDS);
    let rabbitmq = &scene.stack.engines.rabbitmq;
    let of = format!("/api/bindings/{HOST}/e/{EVENTS}/q/{INVENTORY}");
    let bindings = rabbitmq.api("GET", &of, "")?;
    let keys: Vec<&str> =
        bindings.as_array().into_iter().flatten().filter_map(|b| b["routing_key"].as_str()).collect();
    if keys.is_empty() {
        return Err("inventory hears no events".into());
    }
    let began = Instant::now();
    while began.elapsed() < UNBOUND {
        let there = rabbitmq.api("GET", &of, "")?;
        let there = there.as_array().into_iter().flatten().filter_map(|b| b["properties_key"].as_str());
        for key in there {
            rabbitmq.api("DELETE", &format!("{of}/{key}"), "")?;
        }
        pause(LOOK_EVERY);
    }
    for key in keys {
        rabbitmq.api("POST", &of, &json!({"routing_key": key}).to_string())?;
    }
    races.end().map(|_| ())
}

/// Orders are paid, cancelled and expire beside the storm. Then comes again what was told of them, and the last that
/// was told of the storm's: what gave units back before what took them.
pub(super) fn events_again(scene: &mut Scene<'_>) -> Outcome {
    let races = Races::begin(scene, &[])?;
    let rabbitmq = &scene.stack.engines.rabbitmq;
    let mut ear = Ear::new(rabbitmq)?;
    ear.hear_races(rabbitmq, &scene.sale, RACED)?;
    pause(HEAR_EVERY);
    ear.hear(rabbitmq, |_| true)?;
    let again = ear.repeat(rabbitmq)?;
    scene.note(Effect::ToldAgain, again.into());
    races.end().map(|_| ())
}

/// Orders are cancelled beside the storm, and their tickets sent again. Then comes again what was told of them:
/// what took each unit after what gave it back.
pub(super) fn tickets_again(scene: &mut Scene<'_>) -> Outcome {
    let races = Races::begin(scene, &["--click-again"])?;
    let rabbitmq = &scene.stack.engines.rabbitmq;
    let mut ear = Ear::new(rabbitmq)?;
    ear.hear_races(rabbitmq, &scene.sale, RACED)?;
    let again = ear.repeat(rabbitmq)?;
    scene.note(Effect::ToldAgain, again.into());
    races.end().map(|_| ())
}

/// Hears all events until its [`end`](Self::end). It does not hold the broker, for the platform may be struck meanwhile.
pub(super) struct Ear {
    heard: Vec<Value>,
    /// Of what was only looked at for what comes again.
    ids: HashSet<String>,
}

impl Ear {
    /// Begins to hear.
    pub(super) fn new(rabbitmq: &RabbitMq) -> Outcome<Self> {
        let arguments = json!({"arguments": {"x-max-length": HEARD_MAX}}).to_string();
        rabbitmq.api("PUT", &format!("/api/queues/{HOST}/{HEARD}"), &arguments)?;
        let binding = format!("/api/bindings/{HOST}/e/{EVENTS}/q/{HEARD}");
        rabbitmq.api("POST", &binding, &json!({"routing_key": "#"}).to_string())?;
        Ok(Self { heard: Vec::new(), ids: HashSet::new() })
    }

    /// Takes what came since the last time, and of each so much of its text.
    fn take(rabbitmq: &RabbitMq, bytes_max: u32) -> Outcome<Vec<Value>> {
        let look = json!({"count": HEARD_MAX, "ackmode": "ack_requeue_false", "encoding": "auto",
            "truncate": bytes_max});
        let came = rabbitmq.api("POST", &format!("/api/queues/{HOST}/{HEARD}/get"), &look.to_string())?;
        Ok(came.as_array().cloned().unwrap_or_default())
    }

    /// Takes what came since the last time, and keeps what `wanted` says of its text.
    fn hear(&mut self, rabbitmq: &RabbitMq, wanted: impl Fn(&str) -> bool) -> Outcome {
        let came = Self::take(rabbitmq, EVENT_BYTES_MAX)?.into_iter();
        self.heard.extend(came.filter(|event| wanted(event["payload"].as_str().unwrap_or_default())));
        Ok(())
    }

    /// Takes what came since the last time; how many of it had come before. An event keeps its id.
    pub(super) fn hear_again(&mut self, rabbitmq: &RabbitMq) -> Outcome<u32> {
        let id = |event: &Value| Some(event["properties"]["message_id"].as_str()?.to_owned());
        let came = Self::take(rabbitmq, 1)?;
        let again = came.iter().filter_map(id).map(|id| u32::from(!self.ids.insert(id)));
        Ok(again.sum())
    }

    /// Keeps what is told for so long, but for what is told of the storm's sale.
    pub(super) fn hear_races(&mut self, rabbitmq: &RabbitMq, storm: &str, time: Duration) -> Outcome {
        let began = Instant::now();
        while began.elapsed() < time {
            pause(HEAR_EVERY);
            self.hear(rabbitmq, |event| !event.contains(storm))?;
        }
        Ok(())
    }

    /// Hears no more; how many events it has kept.
    pub(super) fn end(self, rabbitmq: &RabbitMq) -> u32 {
        let _ = rabbitmq.api("DELETE", &format!("/api/queues/{HOST}/{HEARD}"), "");
        u32::try_from(self.heard.len()).unwrap_or(u32::MAX)
    }

    /// Tells it all again, the last one first; how many of them found a queue.
    fn repeat(self, rabbitmq: &RabbitMq) -> Outcome<u32> {
        let mut again = 0;
        for event in self.heard.iter().rev() {
            let told = json!({"routing_key": event["routing_key"], "payload": event["payload"],
                "payload_encoding": event["payload_encoding"], "properties": event["properties"]});
            let publish = format!("/api/exchanges/{HOST}/{EVENTS}/publish");
            let told = rabbitmq.api("POST", &publish, &told.to_string())?;
            again += u32::from(told["routed"] == true);
        }
        self.end(rabbitmq);
        Ok(again)
    }
}
