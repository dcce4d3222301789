//! For whose sake the publishing channel is opened anew, and how often.
//!
//! A queue that refuses below the limit it was declared with may do so only on this channel; another channel mends that.
//! Or an operator limits it by a policy, of which the protocol tells nothing: then the next channel is refused too, and
//! to open one more would only cost the other queues what is under way to them. So a queue that goes on refusing gets
//! another channel more and more seldom, but never none.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::target::Target;

/// How long a channel that was opened for a refusing queue is kept in spite of it, at first. Doubled each time.
const KEPT_MIN: Duration = Duration::from_secs(1);
/// At most: so long may a channel go unnoticed that a queue refuses because its leader died.
const KEPT_MAX: Duration = Duration::from_secs(4);
/// A queue that has refused nothing for this long is in doubt no longer. Longer than [`KEPT_MAX`].
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// A queue that refuses messages for no reason that can be seen.
struct Doubt {
    /// When it last did.
    refused: Instant,
    /// When a channel was last opened for its sake.
    opened: Instant,
    /// How long that one is kept.
    kept: Duration,
}

impl Doubt {
    fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.opened) >= self.kept
    }
}

/// The queues in doubt, over all channels.
#[derive(Default)]
pub(super) struct Doubts {
    targets: HashMap<Target, Doubt>,
    opened: Option<Instant>,
}

impl Doubts {
    /// A message was refused for no reason that can be seen: whether to open the channel anew.
    pub(super) fn reopens(&mut self, target: &Target, now: Instant) -> bool {
        self.targets.retain(|_, doubt| now.duration_since(doubt.refused) < FORGOTTEN_AFTER);
        // A channel this young was opened for all that refuse: several may be full at the same time.
        let young = self.opened.filter(|opened| now.duration_since(*opened) < KEPT_MIN);
        let known = self.targets.contains_key(target);
        let new = || Doubt { refused: now, opened: young.unwrap_or(now), kept: KEPT_MIN };
        let doubt = self.targets.entry(target.clone()).or_insert_with(new);
        doubt.refused = now;
        if young.is_some() || (known && !doubt.is_due(now)) {
            return false;
        }
        for due in self.targets.values_mut().filter(|doubt| doubt.is_due(now)) {
            due.opened = now;
            due.kept = (due.kept * 2).min(KEPT_MAX);
        }
        self.opened = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which of these moments, in milliseconds, the channel is opened anew when each lane refuses at each of them.
    fn reopened(
        doubts: &mut Doubts,
        from: Instant,
        lanes: &[u16],
        moments: impl Iterator<Item = u64>,
    ) -> Vec<u64> {
        let reopens = |at: &u64| {
            let now = from + Duration::from_millis(*at);
            lanes.iter().filter(|lane| doubts.reopens(&Target::Lane(**lane), now)).count() > 0
        };
        moments.filter(reopens).collect()
    }

    #[test]
    fn a_queue_that_goes_on_refusing_gets_new_channels_more_and_more_seldom() {
        let (mut doubts, from) = (Doubts::default(), Instant::now());
        let at = reopened(&mut doubts, from, &[3], (0..=16_000).step_by(100));
        assert_eq!(at, [0, 1_000, 3_000, 7_000, 11_000, 15_000]);
    }

    #[test]
    fn several_that_refuse_share_their_channels() {
        let (mut doubts, from) = (Doubts::default(), Instant::now());
        let at = reopened(&mut doubts, from, &[0, 1, 2, 3], (0..=16_000).step_by(100));
        assert_eq!(at, [0, 1_000, 3_000, 7_000, 11_000, 15_000], "as seldom as for one");
    }

    #[test]
    fn another_ones_first_refusal_is_looked_into_though_one_is_full() {
        let (mut doubts, from) = (Doubts::default(), Instant::now());
        reopened(&mut doubts, from, &[3], (0..=9_000).step_by(100));
        assert_eq!(reopened(&mut doubts, from, &[5], std::iter::once(9_100)), [9_100]);
    }

    #[test]
    fn a_refusal_after_a_long_peace_is_looked_into_at_once() {
        let (mut doubts, from) = (Doubts::default(), Instant::now());
        reopened(&mut doubts, from, &[3], (0..=7_000).step_by(100));
        let at = reopened(&mut doubts, from, &[3], (20_000..=21_000).step_by(100));
        assert_eq!(at, [20_000, 21_000], "as on the first day");
    }
}
