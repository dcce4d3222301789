//! Faults of the ledger, and of who tells it of payments.

use super::{A_STORM, proxied, two_of_each};
use crate::faults::evidence::Effect::{Busy, LedgerAway, ReportedAgain, WebhooksLost};
use crate::faults::{Fault, engines, network, payments};

pub(super) const OF_THE_PAYMENT_PROVIDER: &[Fault] = &[
    Fault {
        name: "webhooks-repeated",
        injects: "every capture is reported ten times, out of order, with failures in between, beside cancels and expiry",
        expected: "recorded once: a paid order or one refund; money balances to zero, stock is exact",
        effects: &[ReportedAgain],
        goes_on: false,
        inject: payments::webhooks_repeated,
        ..A_STORM
    },
    Fault {
        name: "webhooks-lost",
        injects: "for 6 s webhooks are lost, for 2 s their answers; the provider says it again",
        expected: "what comes late is a paid order where its unit can be had again, and a refund where not; two timeout jobs do no harm",
        effects: &[WebhooksLost],
        shape: two_of_each,
        goes_on: false,
        inject: payments::webhooks_lost,
        ..A_STORM
    },
    Fault {
        name: "payments-through-outage",
        injects: "Postgres is killed and restarted while captures are reported ten times, beside cancels and expiry",
        expected: "a report that is not recorded is told again: a paid order or one refund; money balances to zero, stock is exact",
        effects: &[LedgerAway, ReportedAgain],
        storm_s: 14,
        goes_on: false,
        inject: payments::through_outage,
        ..A_STORM
    },
];

pub(super) const OF_THE_LEDGER: &[Fault] = &[
    Fault {
        name: "postgres-killed",
        injects: "Postgres is killed in the middle of commits, and restarted",
        expected: "the batch is tried again: committed or not, its ids decide; buyers notice nothing",
        effects: &[LedgerAway],
        short: true,
        inject: engines::postgres_killed,
        ..A_STORM
    },
    Fault {
        name: "postgres-refusing",
        injects: "Postgres refuses connections for 10 s, with a full prefetch",
        expected: "consumers hold what they have and stop taking; no good order is a dead letter",
        effects: &[LedgerAway],
        shape: proxied,
        storm_s: 20,
        inject: network::postgres_refusing,
        ..A_STORM
    },
    Fault {
        name: "stores-silent",
        injects: "connections of gateway and Redis, and of order service and Postgres, die in silence",
        expected: "noticed by bounds, and connected anew: 503 until then; orders wait in their lanes, and none is a dead letter",
        effects: &[Busy, LedgerAway],
        shape: proxied,
        storm_s: 40,
        pause_ms_max: Some(10_000),
        inject: network::stores_silent,
        ..A_STORM
    },
];
