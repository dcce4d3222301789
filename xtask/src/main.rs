//! Development tasks: `cargo xtask <task>`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool for people")]

mod api;
mod bench;
mod engines;
mod faults;
mod guards;
mod http;
mod platform;
mod ports;
mod power_cuts;
mod process;
mod proxy;
mod run;
mod server;
mod stack;
mod subject;
mod test;
mod trials;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of the flash-sale platform")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every test.
    Test,
    /// Start private engines, print the variables that tests read, and keep them until Ctrl-C.
    Engines {
        /// With a replica and sentinels of Redis, and three nodes of RabbitMQ.
        #[arg(long)]
        ha: bool,
    },
    /// Start the services as processes of their own on private engines, tell where, and keep them until Ctrl-C.
    Stack(stack::Options),
    /// Remove each guard in turn and show that its tests then fail.
    Guards {
        /// Only guards whose name contains this, or one of several parts with commas between them.
        only: Option<String>,
        /// The rules of the protocol, each against the fault that it is there for.
        #[arg(long)]
        storms: bool,
    },
    /// Measure.
    Bench {
        /// What to measure.
        what: bench::What,
    },
    /// Play the API's own document against a running platform, with schemathesis.
    Api(api::Options),
    /// Storms against the release binary, judged by journal and ledger: `spike`, `kill`, `limits`, `races`; and how soon
    /// a unit that comes back is on sale at every gateway: `released`.
    Trial(trials::Options),
    /// Storms on separate services and private engines, each with one fault in the middle.
    Faults(faults::Options),
    /// Cut the power at random moments of a traced storm, and look what the disk still holds.
    PowerCuts(power_cuts::Options),
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    match process::watch().and_then(|()| run(task)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> run::Outcome {
    match task {
        Task::Test => test::run(),
        Task::Engines { ha } => engines::show(ha),
        Task::Stack(options) => stack::run(&options),
        Task::Guards { only, storms: false } => guards::run(only.as_deref()),
        Task::Guards { only, storms: true } => guards::run_storms(only.as_deref()),
        Task::Bench { what } => bench::run(what),
        Task::Api(options) => api::run(&options),
        Task::Trial(options) => trials::run(&options),
        Task::Faults(options) => faults::run(&options),
        Task::PowerCuts(options) => power_cuts::run(&options),
    }
}
