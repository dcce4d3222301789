//! What a RabbitMQ broker can be told at its opening.

use std::time::Duration;

use crate::topology::Limits;

/// For tests, benches and `infra/rabbitmq/definitions.json`; processes take `SECKILL_LANES`.
pub const LANES_DEFAULT: u16 = 8;
/// Publishes under way at once, each waiting for its confirm. One is stop-and-wait. For tests and benches; processes
/// take `SECKILL_CONFIRM_WINDOW`.
pub const CONFIRM_WINDOW_DEFAULT: usize = 1_024;
/// Messages a consumer is sent ahead of its acknowledgements. At least two batches: one is committed
/// while the next one arrives. For tests and benches; processes take `SECKILL_PREFETCH`.
pub const PREFETCH_DEFAULT: u16 = 2_000;
/// How long a publisher waits for its confirm, in milliseconds. For tests and benches; processes take
/// `SECKILL_PUBLISH_WAIT_MS`.
pub const PUBLISH_WAIT_MS_MAX: u64 = 2_000;
/// A peer that says nothing for twice this long is gone, in seconds.
pub const HEARTBEAT_S: u16 = 5;
/// How long the broker may take to answer a small question, in milliseconds.
pub(super) const ANSWER_MS_MAX: u64 = 2_000;
/// How long it may take to make or remove a listener's queue, to begin delivering, or to let a reader of the log in, in
/// milliseconds.
pub(super) const SETUP_MS_MAX: u64 = 5_000;

/// The settings of a RabbitMQ broker.
#[derive(Clone, Debug)]
pub struct RabbitOptions {
    /// How many lanes there are. All services must agree; it may change only while all lanes are empty.
    pub lanes: u16,
    /// The limits of the queues. A queue keeps those it was first declared with.
    pub limits: Limits,
    /// See [`CONFIRM_WINDOW_DEFAULT`].
    pub confirm_window: usize,
    /// See [`PREFETCH_DEFAULT`].
    pub prefetch: u16,
    /// See [`PUBLISH_WAIT_MS_MAX`].
    pub publish_wait: Duration,
}

impl Default for RabbitOptions {
    fn default() -> Self {
        Self {
            lanes: LANES_DEFAULT,
            limits: Limits::default(),
            confirm_window: CONFIRM_WINDOW_DEFAULT,
            prefetch: PREFETCH_DEFAULT,
            publish_wait: Duration::from_millis(PUBLISH_WAIT_MS_MAX),
        }
    }
}
