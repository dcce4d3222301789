//! A hundred thousand seeded races around the moment an order is decided, against the real stores:
//! pay / expire, pay / cancel, cancel / expire, refund / refund, late payment / fence. Exactly one
//! wins each; money and stock come out even.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod engine;
mod ledger;
mod plan;
mod waves;

use engine::Engine;
use plan::Seed;

/// Races in all.
const RACES: u64 = 100_000;
/// Races in all where every call crosses a network.
const RACES_ON_A_SERVER: u64 = 10_000;
/// The least share of either winner, in percent.
const WINNER_SHARE_MIN: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_races_have_one_winner_each_and_come_out_even() {
    race(Engine::file().await, RACES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres: cargo xtask test runs it"]
async fn races_between_two_replicas_have_one_winner_each_and_come_out_even() {
    race(Engine::server().await, RACES_ON_A_SERVER).await;
}

async fn race(engine: Engine, races: u64) {
    let seed = std::env::var("RACES_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_123);
    let races = std::env::var("RACES").ok().and_then(|s| s.parse().ok()).unwrap_or(races);
    let mut arena = waves::Arena::open(engine, Seed(seed)).await;
    while arena.scores.total() < races {
        arena.wave().await;
    }
    arena.assert_even().await;
    for (race, [first, second]) in arena.scores.all() {
        let all = first + second;
        for (who, won) in [("first", first), ("second", second)] {
            assert!(
                won * 100 >= all * WINNER_SHARE_MIN,
                "{race}: the {who} won {won} of {all} (seed {seed})"
            );
        }
    }
}
