//! What an embedded broker can be told at its opening.

use crate::topology::Limits;

/// For tests and benches; processes take `SECKILL_LANES`. Few, since the embedded order store has one writer anyway.
const LANES_DEFAULT: u16 = 4;
/// For tests and benches; processes take `SECKILL_PUBLISH_WAIT_MS`.
const PUBLISH_WAIT_MS_MAX: u64 = 5_000;
/// A commit costs a sync and some fixed work however few messages it holds: under load a short wait makes
/// fewer and larger groups. The first message after a quiet moment never waits.
const COMMIT_SPACING_MS: u64 = 2;
const SWEEP_EVERY_MS: u64 = 1_000;
const OWNER_WAIT_MS_MAX: u64 = 1_000;

/// The settings of an embedded broker.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// How many lanes there are. More of them let more sales commit side by side. May change only while all lanes are
    /// empty.
    pub lanes: u16,
    /// The limits of the queues.
    pub limits: Limits,
    /// How long a publisher waits for its confirm, in milliseconds.
    pub publish_wait_ms_max: u64,
    /// Least time between the starts of two commits, in milliseconds; 0 commits as fast as the disk syncs.
    pub commit_spacing_ms: u64,
    /// How often queues are searched for messages that waited too long, in milliseconds.
    pub sweep_every_ms: u64,
    /// How long the opening waits for a former owner of the file to go, in milliseconds.
    pub owner_wait_ms_max: u64,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            lanes: LANES_DEFAULT,
            limits: Limits::default(),
            publish_wait_ms_max: PUBLISH_WAIT_MS_MAX,
            commit_spacing_ms: COMMIT_SPACING_MS,
            sweep_every_ms: SWEEP_EVERY_MS,
            owner_wait_ms_max: OWNER_WAIT_MS_MAX,
        }
    }
}
