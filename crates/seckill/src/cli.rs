//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use messaging::rabbitmq::LogStart;
use service_kit::Settings;
use service_kit::lifecycle::{EXIT_BAD_SETTINGS, Failure, exit_code, run_with, variables};
use service_kit::settings::DEFAULTS;
use tokio_util::sync::CancellationToken;

/// A flash-sale platform.
#[derive(Parser)]
#[command(name = "seckill", version, about = "A flash-sale platform: every service in one process")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Embedded parts under ./data, drawn secrets, demo login, a demo sale (the default)
    Demo,
    /// The same platform from SECKILL_... settings alone
    Run,
    /// Print every setting with its meaning and default
    Settings,
    /// Ask a health address once; exit code 0 if it is well (for container health checks)
    Probe {
        /// http://host:port/readyz
        url: String,
    },
    /// Print the broker's log of events, one JSON line each, and follow it (RabbitMQ only)
    Events {
        /// first, last, next, an offset, or @ and Unix seconds
        #[arg(long, default_value = "next")]
        from: LogStart,
    },
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way too; a closed output is no reason to fail.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_BAD_SETTINGS) } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match cli.command.unwrap_or(Command::Demo) {
        Command::Demo => variables()
            .map_err(Failure::from)
            .and_then(seckill::demo::settings)
            .and_then(|settings| run_with(settings, |s, stop| Box::pin(seckill::demo::run(s, stop)))),
        Command::Run => variables()
            .and_then(Settings::from_vars)
            .map_err(Failure::from)
            .and_then(|settings| run_with(settings, |s, stop| Box::pin(serve(s, stop)))),
        Command::Settings => {
            print_settings();
            Ok(())
        }
        Command::Events { from } => variables()
            .and_then(Settings::from_vars)
            .map_err(Failure::from)
            .and_then(|settings| run_with(settings, |s, stop| seckill::events::run(s, from, stop))),
        Command::Probe { url } => Settings::from_vars([])
            .map_err(Failure::from)
            .and_then(|defaults| run_with(defaults, |_, _| async move { seckill::probe::run(&url).await })),
    };
    exit_code("seckill", outcome)
}

async fn serve(settings: Settings, shutdown: CancellationToken) -> Result<(), Failure> {
    let running = seckill::start(&settings, shutdown).await?;
    tracing::info!(public = %running.public, admin = %running.admin, "listening");
    running.stopped().await
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn print_settings() {
    print!("{DEFAULTS}");
}
