//! Every fault, with what is expected. `docs/faults.md` puts beside it what was measured.

mod ledger;

use super::evidence::Effect::{
    Broken, Busy, ClosedSale, Continued, DeadLetter, Disagreed, Fenced, InLine, KnownId, Redelivered,
    RefusedPublish, Rejected, ToldAgain, ToldLate, TroubledPublish, Uncommittable, UnknownPublish,
};
use super::{Fault, engines, high_availability, messages, network, services};
use crate::stack::Shape;
use ledger::{OF_THE_LEDGER, OF_THE_PAYMENT_PROVIDER};

/// Longer than any fault lasts.
const PATIENCE_S: u32 = 40;

/// More units than any storm can buy.
const PLENTY: u32 = 400_000;

/// Tickets of ten seconds: what was reserved and never ordered is fenced while people watch.
fn plain() -> Shape {
    let settings = [("SECKILL_TICKET_TTL_S", "10"), ("SECKILL_PUBLISH_WAIT_MS", "1500")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Shape { settings, ..Shape::default() }
}

fn two_gateways() -> Shape {
    Shape { gateways: 2, ..plain() }
}

fn two_of_each() -> Shape {
    Shape { gateways: 2, inventories: 2, orders: 2, notifies: 2, ..plain() }
}

fn proxied() -> Shape {
    Shape { proxied: true, ..plain() }
}

fn highly_available() -> Shape {
    Shape { gateways: 2, orders: 2, highly_available: true, ..plain() }
}

/// Two order services, and a broker that waits seconds for an acknowledgement instead of half an hour.
fn impatient_broker() -> Shape {
    let rabbitmq = "{consumer_timeout, 5000}, {channel_tick_interval, 1000}".to_owned();
    Shape { orders: 2, rabbitmq, ..plain() }
}

/// Every fault.
pub(super) fn all() -> impl Iterator<Item = &'static Fault> {
    let engines = [OF_THE_STOCK_STORE, OF_THE_BROKER, OF_THE_LEDGER, OF_MANY_NODES];
    [OF_SERVICES].into_iter().chain(engines).chain([OF_THE_PAYMENT_PROVIDER]).flatten()
}

/// What most faults have in common.
const A_STORM: Fault = Fault {
    name: "",
    injects: "",
    expected: "",
    effects: &[],
    shape: plain,
    stock: PLENTY,
    storm_s: 12,
    patience_s: PATIENCE_S,
    pause_ms_max: Some(5_000),
    goes_on: true,
    may_reject: false,
    short: false,
    inject: |_| Ok(()),
};

const OF_SERVICES: &[Fault] = &[
    Fault {
        name: "gateway-killed",
        injects: "one of two gateways is killed, some of its orders reserved and not yet published",
        expected: "buyers go on with the same tickets at the other; the ledger knows what it saw before",
        effects: &[Broken, Continued],
        shape: two_gateways,
        short: true,
        inject: services::gateway_killed,
        ..A_STORM
    },
    Fault {
        name: "gateway-abandoned",
        injects: "the gateway is killed, and no buyer whose request it held ever comes back",
        expected: "what was reserved and never published is fenced, and is for sale again",
        effects: &[Broken, Fenced],
        patience_s: 0,
        inject: services::gateway_killed,
        ..A_STORM
    },
    Fault {
        name: "gateway-paused",
        injects: "one of two gateways stands still for 30 s, longer than the fence age; its buyers do not come back",
        expected: "its reservations are fenced and for sale again; what it still publishes on waking, if anything, meets its fence",
        effects: &[Fenced],
        shape: two_gateways,
        storm_s: 40,
        patience_s: 0,
        pause_ms_max: None,
        inject: services::gateway_paused,
        ..A_STORM
    },
    Fault {
        name: "order-killed",
        injects: "the order service is killed with messages unacknowledged",
        expected: "they are delivered again; those committed already are known by their id",
        effects: &[Redelivered],
        short: true,
        inject: services::order_killed,
        ..A_STORM
    },
    Fault {
        name: "acks-lost",
        injects: "for half a second nothing that the order service says reaches the broker, then it is killed: what it committed is not acknowledged",
        expected: "it is delivered again, and known by its id",
        effects: &[Redelivered, KnownId],
        shape: proxied,
        inject: network::acks_lost,
        ..A_STORM
    },
    Fault {
        name: "relay-killed",
        injects: "the order service is killed five times, between publishing an event and marking it too",
        expected: "events come again; settle and release by order id do nothing twice",
        effects: &[Redelivered, ToldAgain],
        storm_s: 24,
        inject: services::order_killed_repeatedly,
        ..A_STORM
    },
    Fault {
        name: "order-paused",
        injects: "the only order service stands still longer than the fence age, with a lane full of orders",
        expected: "fences wait in line behind the orders they ask about, and condemn none",
        effects: &[Fenced],
        storm_s: 20,
        pause_ms_max: None,
        goes_on: false,
        inject: services::order_paused,
        ..A_STORM
    },
    Fault {
        name: "consumer-paused",
        injects: "one of two order services stands still past the broker's acknowledgement time-out",
        expected: "the other takes over its lanes; on waking it finds its ids known",
        effects: &[Redelivered],
        shape: impatient_broker,
        storm_s: 34,
        pause_ms_max: None,
        inject: services::order_paused,
        ..A_STORM
    },
    Fault {
        name: "inventory-killed",
        injects: "inventory is killed with events unacknowledged",
        expected: "selling goes on without it; events wait or come again, and are settled on its return",
        effects: &[Redelivered],
        inject: services::inventory_killed,
        ..A_STORM
    },
    Fault {
        name: "one-of-each-killed",
        injects: "of two gateways, two inventories and two order services, one each is killed",
        expected: "the others carry on with the same tickets; two reconcilers do no harm",
        effects: &[Broken, Continued],
        shape: two_of_each,
        storm_s: 16,
        inject: services::one_of_each_killed,
        ..A_STORM
    },
    Fault {
        name: "rolling-restart",
        injects: "every service in turn is asked to stop and started again, two of each",
        expected: "each finishes what is under way; nothing is lost",
        effects: &[Redelivered],
        shape: two_of_each,
        storm_s: 40,
        inject: services::rolling_restart,
        ..A_STORM
    },
    Fault {
        name: "services-killed",
        injects: "all services are killed at once and come back in any order",
        expected: "selling again when the last is back; unacknowledged messages come again",
        effects: &[Broken, Redelivered],
        storm_s: 16,
        pause_ms_max: None,
        short: true,
        inject: services::services_killed,
        ..A_STORM
    },
    Fault {
        name: "everything-killed",
        injects: "all services and engines are killed at once and come back in any order",
        expected: "what was accepted is on the broker's disk; the stock is rebuilt from the ledger",
        effects: &[Broken, ClosedSale],
        storm_s: 40,
        pause_ms_max: None,
        inject: services::everything_killed,
        ..A_STORM
    },
];

const OF_THE_STOCK_STORE: &[Fault] = &[
    Fault {
        name: "redis-killed",
        injects: "Redis is killed and restarted (everysec: up to a second of writes is lost)",
        expected: "closed until rebuilt under a higher epoch; selling again within 5 s",
        effects: &[ClosedSale],
        short: true,
        inject: engines::redis_killed,
        ..A_STORM
    },
    Fault {
        name: "redis-flushed",
        injects: "FLUSHALL",
        expected: "closed until rebuilt under a higher epoch; selling again within 5 s",
        effects: &[ClosedSale],
        short: true,
        inject: engines::redis_flushed,
        ..A_STORM
    },
    Fault {
        name: "lost-behind-backlog",
        injects: "for 4 s the order service hears little of the broker; FLUSHALL, with a lane full of orders",
        expected: "the barrier waits behind the backlog: the rebuilt stock counts every order in it",
        effects: &[ClosedSale],
        shape: proxied,
        storm_s: 16,
        pause_ms_max: Some(10_000),
        inject: network::lost_behind_backlog,
        ..A_STORM
    },
    Fault {
        name: "redis-paused",
        injects: "Redis stands still for 5 s",
        expected: "503 meanwhile, at once; the same tickets go on afterwards",
        effects: &[Busy],
        storm_s: 16,
        pause_ms_max: Some(10_000),
        inject: engines::redis_paused,
        ..A_STORM
    },
    Fault {
        name: "redis-restored",
        injects: "Redis is replaced by its own state of three seconds ago",
        expected: "its library is not armed: closed until rebuilt, never sold from the old state",
        effects: &[ClosedSale],
        storm_s: 14,
        inject: engines::redis_restored,
        ..A_STORM
    },
    Fault {
        name: "redis-cut-off",
        injects: "no service reaches Redis for 3 s",
        expected: "503 meanwhile; the state is still there, and selling goes on",
        effects: &[Busy],
        shape: proxied,
        pause_ms_max: Some(8_000),
        inject: network::redis_cut_off,
        ..A_STORM
    },
    Fault {
        name: "stock-overstated",
        injects: "the stock store is made to believe in 5,000 units that are not there",
        expected: "the ledger sells its total and no unit more; the sale's keys deleted, both stores agree again",
        effects: &[Rejected, ClosedSale],
        stock: 8_000,
        storm_s: 20,
        pause_ms_max: None,
        may_reject: true,
        goes_on: false,
        inject: engines::stock_overstated,
        ..A_STORM
    },
    Fault {
        name: "restock-during-rebuild",
        injects: "FLUSHALL, and a restock before the stock is back; two of each service",
        expected: "two inventories find the same loss; the rebuilt stock has the new total",
        effects: &[ClosedSale],
        shape: two_of_each,
        inject: engines::restock_during_rebuild,
        ..A_STORM
    },
];

const OF_THE_BROKER: &[Fault] = &[
    Fault {
        name: "rabbitmq-killed",
        injects: "RabbitMQ is killed and restarted, between publish and confirm for some",
        expected: "503 without a confirm, the ticket holds; all services come back by themselves",
        effects: &[UnknownPublish],
        storm_s: 30,
        pause_ms_max: None,
        short: true,
        inject: engines::rabbitmq_killed,
        ..A_STORM
    },
    Fault {
        name: "broker-killed-in-line",
        injects: "consumers stand still until confirmed orders stand in a lane, undelivered; then RabbitMQ is killed and restarted",
        expected: "what was confirmed is on the broker's disk, and is committed",
        effects: &[InLine],
        storm_s: 50,
        pause_ms_max: None,
        inject: messages::broker_killed_in_line,
        ..A_STORM
    },
    Fault {
        name: "rabbitmq-cut-off",
        injects: "no service reaches RabbitMQ for 3 s",
        expected: "503 meanwhile; the outbox keeps what it has to tell",
        effects: &[UnknownPublish],
        shape: proxied,
        storm_s: 14,
        pause_ms_max: Some(10_000),
        inject: network::rabbitmq_cut_off,
        ..A_STORM
    },
    Fault {
        name: "confirms-lost",
        injects: "for 4 s nothing that the broker says reaches the gateways",
        expected: "published once more with the same id, then 503; the ledger knows the id",
        effects: &[UnknownPublish, KnownId],
        shape: proxied,
        storm_s: 14,
        pause_ms_max: None,
        short: true,
        inject: network::confirms_lost,
        ..A_STORM
    },
    Fault {
        name: "orders-late",
        injects: "what gateways publish is held up for 4 s; FLUSHALL, and the stock is rebuilt meanwhile",
        expected: "what arrives behind the barrier is of an older epoch, and rejected; nobody was told 202",
        effects: &[UnknownPublish, ClosedSale, Rejected],
        shape: proxied,
        storm_s: 18,
        pause_ms_max: None,
        inject: network::orders_late,
        ..A_STORM
    },
    Fault {
        name: "half-open",
        injects: "connections of gateway and order service to the broker die in silence",
        expected: "noticed by bound and heartbeat; connected anew, delivered again",
        effects: &[UnknownPublish],
        shape: proxied,
        storm_s: 40,
        pause_ms_max: None,
        inject: network::half_open,
        ..A_STORM
    },
    Fault {
        name: "binding-deleted",
        injects: "the lanes' bindings are deleted for 3 s",
        expected: "mandatory: what finds no way is returned and answered 503, never 202",
        effects: &[RefusedPublish],
        pause_ms_max: None,
        short: true,
        inject: messages::binding_deleted,
        ..A_STORM
    },
    Fault {
        name: "memory-alarm",
        injects: "the broker blocks publishers for 4 s",
        expected: "fast 503; afterwards selling goes on",
        effects: &[Busy],
        storm_s: 18,
        pause_ms_max: None,
        inject: engines::memory_alarm,
        ..A_STORM
    },
    Fault {
        name: "lane-full",
        injects: "lanes of 200 messages, and nobody consumes for 5 s",
        expected: "a full lane is a nack and a 503, not a dead letter",
        effects: &[TroubledPublish],
        storm_s: 16,
        pause_ms_max: None,
        inject: messages::lane_full,
        ..A_STORM
    },
    Fault {
        name: "poison",
        injects: "a message that is none and an order of a sale without an allocation, in every lane, among good ones",
        expected: "the failing batch is halved until they are found; they go to the dead letters by name; the good ones commit",
        effects: &[DeadLetter, Uncommittable],
        inject: messages::poison,
        ..A_STORM
    },
    Fault {
        name: "events-delayed",
        injects: "events reach inventory seconds late and in clumps, beside payments, cancels and expiry",
        expected: "settles and releases are late, in any order, and right",
        effects: &[ToldLate],
        shape: proxied,
        goes_on: false,
        inject: network::events_delayed,
        ..A_STORM
    },
    Fault {
        name: "events-late",
        injects: "inventory stands still for a minute, beside payments, cancels and expiry: all its events come at once, long after their time",
        expected: "late settles and releases are right; whoever reconciles meanwhile does no harm",
        effects: &[Fenced],
        storm_s: 8,
        goes_on: false,
        inject: services::inventory_paused,
        ..A_STORM
    },
    Fault {
        name: "events-again",
        injects: "events of payments, cancels and expiry that inventory has heard come again, the last one first",
        expected: "settle and release by order id do nothing twice, in any order",
        effects: &[ToldAgain],
        goes_on: false,
        inject: messages::events_again,
        ..A_STORM
    },
    Fault {
        name: "events-unbound",
        injects: "for 5 s inventory's queue is bound to no events, beside payments, cancels and expiry: what is told meanwhile never comes",
        expected: "lost settles are fenced and told again; stores that disagree and stand still for a minute are rebuilt, and agree",
        effects: &[Fenced, Disagreed],
        goes_on: false,
        inject: messages::events_unbound,
        ..A_STORM
    },
    Fault {
        name: "tickets-again",
        injects: "tickets of cancelled orders are sent again, and events that inventory has heard, the last one first",
        expected: "a released reservation is remembered: no ticket takes a second unit, no event settles it",
        effects: &[Continued, ToldAgain],
        shape: two_gateways,
        goes_on: false,
        inject: messages::tickets_again,
        ..A_STORM
    },
];

const OF_MANY_NODES: &[Fault] = &[
    Fault {
        name: "primary-killed",
        injects: "the Redis primary is killed; sentinels promote its replica",
        expected: "the promoted library is not armed: closed, rebuilt from the ledger, selling within 5 s",
        effects: &[ClosedSale],
        shape: highly_available,
        storm_s: 20,
        inject: high_availability::primary_killed,
        ..A_STORM
    },
    Fault {
        name: "leader-killed",
        injects: "of three RabbitMQ nodes, the leader of the busiest lane is killed",
        expected: "a new leader is elected, channels are opened anew; a pause of 5 s at most, and orders are committed while it is away",
        effects: &[TroubledPublish],
        shape: highly_available,
        storm_s: 80,
        inject: high_availability::leader_killed,
        ..A_STORM
    },
];
