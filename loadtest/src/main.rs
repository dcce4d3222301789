//! Storms against a running platform, judged by the client's journal and the ledger.

mod abuse;
mod buyers_limit;
mod cli;
mod clock;
mod cpu;
mod demo;
mod error;
mod http;
mod journal;
mod platform;
mod progress;
mod races;
mod random;
mod rejudge;
mod report;
mod secret;
mod spike;
mod storm;
mod tally;
mod venue;
mod verdict;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use clock::Clock;

/// The verdict failed.
const EXIT_FAILED: u8 = 1;
/// There is no verdict: the run could not be played or judged.
const EXIT_NO_VERDICT: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(play(&cli.command, &Clock::system())));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => EXIT_FAILED.into(),
        Err(e) => {
            report::say(&format!("no verdict: {e}"));
            EXIT_NO_VERDICT.into()
        }
    }
}

async fn play(command: &Command, clock: &Clock) -> Result<bool, error::RunError> {
    match command {
        Command::Spike(args) => Box::pin(spike::run(args, clock)).await,
        Command::Storm(args) => Box::pin(storm::run(args, clock)).await,
        Command::Verdict(args) => Box::pin(rejudge::run(args, clock)).await,
        Command::Races(args) => Box::pin(races::run(args, clock)).await,
        Command::BuyersLimit(args) => Box::pin(buyers_limit::run(args, clock)).await,
        Command::Probe(args) => Box::pin(abuse::probe(args, clock)).await,
        Command::Flood(args) => Box::pin(abuse::flood(args, clock)).await,
        Command::Slow(args) => Box::pin(abuse::slow(args, clock)).await,
        Command::Token(args) => {
            report::say(&args.token(clock));
            Ok(true)
        }
    }
}
