//! From start to exit code.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::settings::{Settings, SettingsError};

/// Exit code for bad settings (`EX_USAGE`).
pub const EXIT_BAD_SETTINGS: u8 = 64;

/// Why a process ends other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Bad settings: exit code 64.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Asked to stop before it had started: exit code 0.
    #[error("asked to stop before everything had started")]
    Stopped,
    /// Anything else: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// A failure told by its text.
    pub fn failed(why: impl std::fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }
}

/// Runs a service to its end: `main` in one call. `serve` gets the settings from the environment and a
/// token that is cancelled by the first interrupt or terminate signal; a second signal, or the deadline
/// `SECKILL_SHUTDOWN_S`, ends the process at once with code 1.
pub fn run<F, Fut>(name: &str, serve: F) -> ExitCode
where
    F: FnOnce(Settings, CancellationToken) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let outcome = Settings::from_vars(std::env::vars())
        .map_err(Failure::from)
        .and_then(|settings| run_with(settings, serve));
    exit_code(name, outcome)
}

/// [`run`] with settings from elsewhere, for programs with a command line of their own.
///
/// # Errors
/// Whatever `serve` reports, or a runtime that cannot start.
pub fn run_with<F, Fut>(settings: Settings, serve: F) -> Result<(), Failure>
where
    F: FnOnce(Settings, CancellationToken) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let deadline = Duration::from_secs(settings.number("SECKILL_SHUTDOWN_S", 1, 600)?);
    let threads = settings.number("SECKILL_THREADS", 0, 1024)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Ok(threads @ 1..) = usize::try_from(threads) {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().map_err(Failure::failed)?;
    let outcome = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let watcher = watch_signals(shutdown.clone(), deadline).map_err(Failure::failed)?;
        let outcome = serve(settings, shutdown).await;
        watcher.abort();
        outcome
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Prints the outcome, if it is a failure, and turns it into the exit code.
#[expect(clippy::print_stderr, reason = "the last words of a process, also when logging never started")]
pub fn exit_code(name: &str, outcome: Result<(), Failure>) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    let code = match failure {
        Failure::Stopped => return ExitCode::SUCCESS,
        Failure::Settings(_) => ExitCode::from(EXIT_BAD_SETTINGS),
        Failure::Failed(_) => ExitCode::FAILURE,
    };
    eprintln!("{name}: {failure}");
    code
}

fn watch_signals(
    shutdown: CancellationToken,
    deadline: Duration,
) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        tracing::info!("stopping: finishing what is under way");
        shutdown.cancel();
        tokio::select! {
            _ = interrupt.recv() => tracing::error!("second signal: stopping at once"),
            _ = terminate.recv() => tracing::error!("second signal: stopping at once"),
            () = tokio::time::sleep(deadline) => tracing::error!("not finished in time: stopping at once"),
        }
        std::process::exit(1);
    }))
}
