//! The functions' arguments and answers, as `seckill.lua` speaks them.

use contract::events::Change;
use domain::{BuyerId, Epoch, OrderId, Phase, ReservationId, SaleId, StateInputs, UnixMillis};
use redis::{Cmd, Value};

use super::failure::{Failure, refused};
use crate::port::{ClosedReason, Held, Peek, Released, ReserveOutcome, SaleView, Snapshot, StockConfig};

/// Bytes of a reservation's id on the server, and of a late one's, which ends in a letter more.
const ID_LEN: usize = 17;
const LATE_ID_LEN: usize = 18;
/// Room for one call's arguments: reserve, the longest of the frequent ones, needs about 400 bytes.
const ARGUMENT_BYTES: usize = 512;

/// What the functions answer for a sale that is not in force.
const UNKNOWN: i64 = -1;

/// Answers of reserve, named as in `seckill.lua`.
mod code {
    pub(super) const RESERVED: i64 = 0;
    pub(super) const ALREADY: i64 = 1;
    pub(super) const SETTLED: i64 = 2;
    pub(super) const RELEASED: i64 = 3;
    pub(super) const MISMATCH: i64 = 4;
    pub(super) const EXPIRED: i64 = 5;
    pub(super) const STALE: i64 = 6;
    pub(super) const LIMIT: i64 = 7;
    pub(super) const SOLD_OUT: i64 = 8;
    pub(super) const NOT_ENOUGH: i64 = 9;
    pub(super) const NOT_OPEN: i64 = 10;
    pub(super) const PAUSED: i64 = 11;
    pub(super) const ENDED: i64 = 12;
    pub(super) const OVERDUE: i64 = 13;
}

/// The keys of a sale, named as in `seckill.lua`.
#[derive(Clone, Copy)]
pub(super) enum Key {
    State,
    Book,
    Ages,
    Tombstones,
    Draft,
    DraftBook,
}

impl Key {
    fn suffix(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Book => "book",
            Self::Ages => "ages",
            Self::Tombstones => "tombstones",
            Self::Draft => "draft",
            Self::DraftBook => "draft-book",
        }
    }
}

/// A call of one function, with the keys that it takes.
pub(super) fn call(function: &str, sale: &SaleId, keys: &[Key]) -> Cmd {
    let mut command = Cmd::with_capacity(3 + keys.len() + 5, ARGUMENT_BYTES);
    command.arg("FCALL").arg(function).arg(keys.len());
    // The braces are the hash tag: a cluster keeps a sale's keys in one slot.
    let mut key = format!("seckill:{{{}}}:", sale.as_str());
    let stem = key.len();
    for which in keys {
        key.truncate(stem);
        key.push_str(which.suffix());
        command.arg(key.as_str());
    }
    command
}

/// A reservation id on the server: a zero byte, which no buyer's name starts with, then the order id's 16,
/// and one more if it is late.
pub(super) struct IdBytes([u8; LATE_ID_LEN], usize);

impl IdBytes {
    pub(super) fn of(id: ReservationId) -> Self {
        let mut bytes = [0; LATE_ID_LEN];
        bytes[1..ID_LEN].copy_from_slice(&id.order.to_bytes());
        bytes[ID_LEN] = b'L';
        Self(bytes, if id.late { LATE_ID_LEN } else { ID_LEN })
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

fn id(value: &Value) -> Result<ReservationId, Failure> {
    let Value::BulkString(bytes) = value else { return Err(nonsense()) };
    let (order, late) = bytes.split_at_checked(ID_LEN).ok_or_else(nonsense)?;
    let order = OrderId::from_bytes(order[1..].try_into().map_err(|_| nonsense())?);
    Ok(ReservationId { order, late: !late.is_empty() })
}

/// Adds what `configure` takes.
pub(super) fn config(command: &mut Cmd, config: &StockConfig) {
    let phase = match config.phase {
        Phase::Active => "a",
        Phase::Paused => "p",
        Phase::Ended => "e",
    };
    command.arg(config.version).arg(config.opens_at.0).arg(config.ends_at.0);
    command.arg(phase).arg(config.per_user_limit);
}

/// Whether this is the answer for a sale that is not in force.
pub(super) fn is_unknown(answer: &Value) -> bool {
    matches!(answer, Value::Int(UNKNOWN))
}

fn nonsense() -> Failure {
    refused("the function library answered something else than this version expects")
}

/// A number, which the server sends as one or as text.
fn number<T: TryFrom<i64> + std::str::FromStr>(value: &Value) -> Result<T, Failure> {
    let parsed = match value {
        Value::Int(n) => T::try_from(*n).ok(),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    parsed.ok_or_else(nonsense)
}

fn parts<const N: usize>(answer: &Value) -> Result<&[Value; N], Failure> {
    match answer {
        Value::Array(items) => items.as_slice().try_into().map_err(|_| nonsense()),
        _ => Err(nonsense()),
    }
}

fn change(epoch: &Value, n: &Value) -> Result<Change, Failure> {
    Ok(Change { epoch: number(epoch)?, n: number(n)? })
}

pub(super) fn reserved(answer: &Value, epoch: Epoch) -> Result<ReserveOutcome, Failure> {
    let Value::Int(told) = answer else {
        let [told, n] = parts(answer)?;
        return match told {
            Value::Int(code::SOLD_OUT) => {
                Ok(ReserveOutcome::SoldOut(Change { epoch: epoch.0, n: number(n)? }))
            }
            Value::Int(code::NOT_ENOUGH) => Ok(ReserveOutcome::NotEnough { free: number(n)? }),
            _ => Err(nonsense()),
        };
    };
    Ok(match *told {
        code::RESERVED => ReserveOutcome::Reserved,
        code::ALREADY => ReserveOutcome::AlreadyReserved,
        code::SETTLED => ReserveOutcome::Settled,
        code::RELEASED => ReserveOutcome::Released,
        code::MISMATCH => ReserveOutcome::QuantityMismatch,
        code::EXPIRED => ReserveOutcome::Expired,
        code::STALE => ReserveOutcome::StaleTicket,
        code::LIMIT => ReserveOutcome::LimitReached,
        code::NOT_OPEN => ReserveOutcome::Closed(ClosedReason::NotOpen),
        code::PAUSED => ReserveOutcome::Closed(ClosedReason::Paused),
        code::ENDED => ReserveOutcome::Closed(ClosedReason::Ended),
        code::OVERDUE => ReserveOutcome::Overdue,
        _ => return Err(nonsense()),
    })
}

fn buyer(value: &Value) -> Result<BuyerId, Failure> {
    let Value::BulkString(bytes) = value else { return Err(nonsense()) };
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).ok_or_else(nonsense)
}

pub(super) fn peek(answer: &Value, id: ReservationId) -> Result<Peek, Failure> {
    match answer {
        Value::Int(0) => return Ok(Peek::None),
        Value::Int(1) => return Ok(Peek::Released),
        _ => {}
    }
    let [letter, who, quantity, reserved_at] = parts(answer)?;
    let reserved_at = UnixMillis(number(reserved_at)?);
    let held = Held { id, buyer: buyer(who)?, quantity: number(quantity)?, reserved_at };
    match letter {
        Value::BulkString(letter) if letter == b"R" => Ok(Peek::Reserved(held)),
        Value::BulkString(letter) if letter == b"S" => Ok(Peek::Settled(held)),
        _ => Err(nonsense()),
    }
}

pub(super) fn released(answer: &Value) -> Result<Released, Failure> {
    let [units, from_zero, epoch, n] = parts(answer)?;
    let from_zero = number::<i64>(from_zero)? == 1;
    Ok(Released { units: number(units)?, from_zero, change: change(epoch, n)? })
}

pub(super) fn changed(answer: &Value) -> Result<Change, Failure> {
    let [epoch, n] = parts(answer)?;
    change(epoch, n)
}

/// Opening and end, which the server keeps as they were written.
fn window(written: &Value) -> Option<(UnixMillis, UnixMillis)> {
    let Value::BulkString(bytes) = written else { return None };
    let (opens_at, ends_at) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
    Some((UnixMillis(opens_at.parse().ok()?), UnixMillis(ends_at.parse().ok()?)))
}

pub(super) fn snapshot(answer: &Value) -> Result<Snapshot, Failure> {
    let [now, epoch, n, phase, written, free, reserved, reservations, settled, total, total_version] =
        parts(answer)?;
    let phase = match phase {
        Value::BulkString(phase) if phase == b"a" => Phase::Active,
        Value::BulkString(phase) if phase == b"p" => Phase::Paused,
        Value::BulkString(phase) if phase == b"e" => Phase::Ended,
        _ => return Err(nonsense()),
    };
    let (opens_at, ends_at) = window(written).ok_or_else(nonsense)?;
    let inputs = StateInputs { phase, opens_at, ends_at, free: number(free)? };
    let change = change(epoch, n)?;
    Ok(Snapshot {
        view: SaleView { now: UnixMillis(number(now)?), inputs, epoch: Epoch(change.epoch), change },
        free: inputs.free,
        reserved: number(reserved)?,
        reservations: number(reservations)?,
        settled: number(settled)?,
        total: number(total)?,
        total_version: number(total_version)?,
    })
}

pub(super) fn stale(answer: &Value) -> Result<Vec<Held>, Failure> {
    let Value::Array(flat) = answer else { return Err(nonsense()) };
    let (each, []) = flat.as_chunks::<4>() else { return Err(nonsense()) };
    let held = |[which, who, quantity, reserved_at]: &[Value; 4]| {
        Ok(Held {
            id: id(which)?,
            buyer: buyer(who)?,
            quantity: number(quantity)?,
            reserved_at: UnixMillis(number(reserved_at)?),
        })
    };
    each.iter().map(held).collect()
}

/// Whether a step of a rebuild was permitted.
pub(super) fn permitted(answer: &Value) -> Result<bool, Failure> {
    number::<i64>(answer).map(|n| n == 1)
}
