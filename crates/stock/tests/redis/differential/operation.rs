//! What is done to both stores. Few ids, buyers and units, so that operations meet.

use domain::Phase;
use proptest::collection::vec;
use proptest::prelude::*;

/// Ids that operations draw from, each also as a late one.
pub(crate) const IDS: u64 = 8;
/// Buyers.
pub(crate) const BUYERS: u8 = 4;
/// Reservations settled by one call at most.
const SETTLED_AT_ONCE: usize = 4;
/// Operations in one sequence at most.
const LENGTH_MAX: usize = 200;

/// A reservation id: an order's first, or its late one.
pub(crate) type Id = (u64, bool);

/// Times are whole ticks, so that moments which matter are met exactly.
pub(crate) const TICK_MS: i64 = 10;

/// How a sale sells, relative to the moment and to the version there is.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) version_step: i64,
    pub(crate) opens_in: i64,
    pub(crate) lasts: i64,
    pub(crate) phase: Phase,
    pub(crate) limit: u32,
}

/// One operation. Epochs and versions are relative to the highest so far; times are ticks from now.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    ReserveRequest {
        id: Id,
        buyer: u8,
        quantity: u32,
        epoch_step: i64,
        expires_in: i64,
    },
    Peek(Id),
    View,
    Settle(Vec<Id>),
    Release(Id),
    Configure(Terms),
    SetTotal {
        total: u32,
        version_step: i64,
    },
    Snapshot,
    Stale {
        age: i64,
        limit: usize,
    },
    Pass(i64),
    LoseKeys,
    LoseMemory,
    /// One of two writers begins a rebuild.
    Begin {
        who: usize,
        epoch_step: i64,
    },
    /// It loads live orders, if it ever began.
    Load {
        who: usize,
        live: Vec<(Id, u8, u32)>,
    },
    Finish {
        who: usize,
        terms: Terms,
        total: u32,
        version: u64,
    },
    /// A whole rebuild at the next epoch, so that sales are mostly in force.
    Rebuild {
        who: usize,
        terms: Terms,
        total: u32,
        live: Vec<(Id, u8, u32)>,
    },
}

fn id() -> impl Strategy<Value = Id> {
    (0..IDS, prop::bool::weighted(0.15))
}

fn live() -> impl Strategy<Value = Vec<(Id, u8, u32)>> {
    vec((id(), 0..BUYERS, 1..4_u32), 0..5)
}

fn terms() -> impl Strategy<Value = Terms> {
    let phase = prop_oneof![6 => Just(Phase::Active), 1 => Just(Phase::Paused), 1 => Just(Phase::Ended)];
    let opens_in = prop_oneof![5 => Just(-1_i64), 1 => 0..8_i64];
    let lasts = prop_oneof![4 => Just(100_000_i64), 1 => 0..40_i64];
    (-1..3_i64, opens_in, lasts, phase, 0..8_u32).prop_map(|(version_step, opens_in, lasts, phase, limit)| {
        Terms { version_step, opens_in, lasts, phase, limit }
    })
}

fn reserve() -> impl Strategy<Value = Operation> {
    let epoch_step = prop_oneof![12 => Just(0_i64), 1 => Just(-1_i64), 1 => Just(1_i64)];
    let expires_in = prop_oneof![1 => -1..4_i64, 2 => 0..100_i64];
    (id(), 0..BUYERS, 1..4_u32, epoch_step, expires_in).prop_map(
        |(id, buyer, quantity, epoch_step, expires_in)| Operation::ReserveRequest {
            id,
            buyer,
            quantity,
            epoch_step,
            expires_in,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let total = 0..16_u32;
    let ordinary = prop_oneof![
        40 => reserve(),
        12 => id().prop_map(Operation::Peek),
        3 => Just(Operation::View),
        12 => vec(id(), 1..=SETTLED_AT_ONCE).prop_map(Operation::Settle),
        16 => id().prop_map(Operation::Release),
        3 => terms().prop_map(Operation::Configure),
        4 => (total.clone(), -1..3_i64).prop_map(|(total, version_step)| Operation::SetTotal { total, version_step }),
        4 => Just(Operation::Snapshot),
        5 => (0..12_i64, 0..5_usize).prop_map(|(age, limit)| Operation::Stale { age, limit }),
        12 => (0..9_i64).prop_map(Operation::Pass),
    ];
    let losing = prop_oneof![
        2 => Just(Operation::LoseKeys),
        4 => Just(Operation::LoseMemory),
        8 => (0..2_usize, -1..3_i64).prop_map(|(who, epoch_step)| Operation::Begin { who, epoch_step }),
        6 => (0..2_usize, live()).prop_map(|(who, live)| Operation::Load { who, live }),
        5 => (0..2_usize, terms(), total.clone(), 0..4_u64)
            .prop_map(|(who, terms, total, version)| Operation::Finish { who, terms, total, version }),
        8 => (0..2_usize, terms(), total, live())
            .prop_map(|(who, terms, total, live)| Operation::Rebuild { who, terms, total, live }),
    ];
    prop_oneof![9 => ordinary, 1 => losing]
}

/// Sequences of operations.
pub(crate) fn sequences() -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..LENGTH_MAX)
}
