//! Random sequences of operations against the function library and the memory store: the same answers,
//! and the same state in the end. A failing sequence is shrunk.
//!
//! `TEST_SEED` chooses the sequences and `TEST_STEPS` how many operations in all.

mod model;
mod operation;

use std::cell::Cell;

use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use tokio::runtime::Builder;

use self::model::Pair;
use self::operation::{Operation, sequences};
use crate::support::{Losing, SHIPPED, TestClock, with_a_test_clock};

/// Operations in all, unless `TEST_STEPS` says otherwise.
const STEPS: usize = 100_000;
/// Operations within which a mutated library must be found out.
const STEPS_TO_CATCH: usize = 40_000;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("it must be a number"))
}

/// Runs sequences until `steps` operations were done; the smallest sequence that tells the two apart,
/// if one was found.
fn compare(library: String, steps: usize, shrinks: u32) -> Result<usize, (String, Vec<Operation>)> {
    // One call at a time: a second thread would only cost switches.
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let redis = runtime.block_on(TestClock::start(library, 1, Losing::Keys));
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number("TEST_SEED", 1).to_le_bytes());
    let config =
        Config { cases: u32::MAX, max_shrink_iters: shrinks, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let (done, sale) = (Cell::new(0), Cell::new(0));
    while done.get() < steps {
        // One case at a time: the bound is in operations.
        let tree = proptest::strategy::Strategy::new_tree(&sequences(), &mut runner).expect("a sequence");
        let outcome = runner.run_one(tree, |operations| {
            sale.set(sale.get() + 1);
            done.set(done.get() + operations.len());
            let run = Pair::run(&redis, sale.get(), &operations);
            runtime.block_on(run).map_err(proptest::test_runner::TestCaseError::fail)
        });
        if let Err(TestError::Fail(why, smallest)) = outcome {
            return Err((why.message().to_owned(), smallest));
        }
    }
    Ok(done.get())
}

#[test]
#[ignore = "needs Redis: cargo xtask test runs it"]
fn the_library_does_what_the_memory_store_does() {
    let steps = number("TEST_STEPS", STEPS);
    match compare(with_a_test_clock(SHIPPED), steps, 2_000) {
        Ok(done) => assert!(done >= steps),
        Err((why, smallest)) => panic!("{why}\nafter {smallest:?}"),
    }
}

/// The control: each of these mistakes in the library is found.
#[test]
#[ignore = "needs Redis: cargo xtask test runs it"]
fn a_mistake_in_the_library_is_found() {
    for (right, wrong) in [
        (
            "s.free, s.reserved, s.reservations = s.free - quantity,",
            "s.free, s.reserved, s.reservations = s.free - 1,",
        ),
        ("if moment >= expires_at then", "if moment > expires_at then"),
        ("if letter == 'X' and expires_at <= moment then", "if letter == 'X' and expires_at < moment then"),
        ("if held + quantity > s.limit then", "if held > s.limit then"),
        ("if tonumber(args[4]) ~= s.epoch then", "if tonumber(args[4]) > s.epoch then"),
        ("if #ids == 0 then", "if true then"),
        ("drafts[state] == mine and", ""),
        (
            "drafts[state] == mine and redis.call('HGET', draft, 'permission') == mine",
            "redis.call('EXISTS', draft) == 1",
        ),
        ("  if expires_at > moment then", "  if false then"),
        ("s.changes = before == 0 and s.changes + 1 or s.changes", ""),
        ("s.free = math.max(s.total - s.reserved - s.settled, 0)", "s.free = s.free + units"),
        ("local refusal = #id == ID_LEN and closed", "local refusal = closed"),
        ("s.epoch ~= armed[key]", "armed[key] and s.epoch ~= armed[key]"),
        ("if there and unpack_state(there).epoch >= epoch then", "if false then"),
        ("if is_there and tonumber(string.match(begun, '^%d+')) > epoch then", "if false then"),
    ] {
        assert!(SHIPPED.contains(right), "the library has changed: {right}");
        let mutated = with_a_test_clock(&SHIPPED.replacen(right, wrong, 1));
        assert!(compare(mutated, STEPS_TO_CATCH, 0).is_err(), "not found: {wrong}");
    }
}
