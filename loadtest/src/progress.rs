//! One line a second while a run goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::report::say;
use crate::tally::{Kind, Tally};

/// Prints the difference of every second until it is dropped.
#[derive(Debug)]
pub(crate) struct Progress(JoinHandle<()>);

impl Progress {
    /// Starts printing.
    pub(crate) fn start(tally: Arc<Tally>) -> Self {
        Self(tokio::spawn(async move {
            let begun = Instant::now();
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tick.tick().await;
            let mut before = [0; 6];
            loop {
                tick.tick().await;
                let now = snapshot(&tally);
                let d: Vec<u64> = now.iter().zip(before).map(|(n, b)| n - b).collect();
                before = now;
                say(&format!(
                    "{:>5} s {:>8} requests/s {:>7} accepted/s  sold out {:>7}  429 {:>6}  503 {:>6}  errors {:>5}",
                    begun.elapsed().as_secs(),
                    d[0],
                    d[1],
                    d[2],
                    d[3],
                    d[4],
                    d[5]
                ));
            }
        }))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn snapshot(tally: &Tally) -> [u64; 6] {
    [
        tally.requests(),
        tally.of(Kind::Accepted),
        tally.of(Kind::SoldOut),
        tally.of(Kind::Limited),
        tally.of(Kind::Busy),
        tally.of(Kind::Broken) + tally.of(Kind::Wrong),
    ]
}
