//! From start to exit code.

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::files;
use crate::settings::{PREFIX, Settings, SettingsError};

/// Exit code for bad settings (`EX_USAGE`).
pub const EXIT_BAD_SETTINGS: u8 = 64;
/// How long what still runs on the threads for blocking work may hold up an exit, in milliseconds.
const THREADS_WAIT_MS_MAX: u64 = 1_000;
/// How long servers wait for requests under way where nobody said how long stopping may take, in milliseconds.
const DRAIN_MS: u64 = 10_000;
/// What is left of the time to stop for what comes after the requests, such as batches and confirms: a fifth, and no more
/// than this, in milliseconds.
const CLOSING_MS_MAX: u64 = 2_000;

/// How long this process's servers wait for requests under way. One for a process, like its signals: a server that stops
/// after another has what that one left.
static DRAIN: Mutex<Drain> = Mutex::new(Drain { within: Duration::from_millis(DRAIN_MS), until: None });

struct Drain {
    within: Duration,
    /// Set by the signal to stop.
    until: Option<Instant>,
}

impl Drain {
    /// The drain of a process that has so long to stop.
    fn within(deadline: Duration) -> Self {
        let closing = (deadline / 5).min(Duration::from_millis(CLOSING_MS_MAX));
        Self { within: deadline.saturating_sub(closing), until: None }
    }
}

/// How long a server of this process waits for requests under way.
pub(crate) fn drain() -> Duration {
    DRAIN.lock().within
}

/// How much of `limit` is left for a server that stops now.
pub(crate) fn drain_left(limit: Duration) -> Duration {
    let until = DRAIN.lock().until;
    until.map_or(limit, |until| limit.min(until.saturating_duration_since(Instant::now())))
}

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
    let settings = variables().and_then(Settings::from_vars).map_err(Failure::from);
    exit_code(name, settings.and_then(|settings| run_with(settings, serve)))
}

/// This process's variables that are meant for us. Others may be in any encoding.
///
/// # Errors
/// One that is no text, by its name.
pub fn variables() -> Result<Vec<(String, String)>, SettingsError> {
    ours(std::env::vars_os())
}

fn ours(all: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, SettingsError> {
    let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
    let in_text = |(name, value): (OsString, OsString)| {
        let name = name.into_string().map_err(|odd| SettingsError::Unknown(odd.to_string_lossy().into()))?;
        let value = value.into_string().map_err(|_| SettingsError::bad(&name, "is not UTF-8"))?;
        Ok((name, value))
    };
    all.into_iter().filter(|(name, _)| is_ours(name)).map(in_text).collect()
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
    files::raise();
    let deadline = Duration::from_secs(settings.number("SECKILL_SHUTDOWN_S", 1, 600)?);
    *DRAIN.lock() = Drain::within(deadline);
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
    runtime.shutdown_timeout(Duration::from_millis(THREADS_WAIT_MS_MAX));
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
        {
            let mut drain = DRAIN.lock();
            drain.until = Some(Instant::now() + drain.within);
        }
        shutdown.cancel();
        tokio::select! {
            _ = interrupt.recv() => tracing::error!("second signal: stopping at once"),
            _ = terminate.recv() => tracing::error!("second signal: stopping at once"),
            () = tokio::time::sleep(deadline) => tracing::error!("not finished in time: stopping at once"),
        }
        std::process::exit(1);
    }))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::os::unix::ffi::OsStringExt as _;

    use axum::response::Response;
    use hyper::body::Incoming;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc::UnboundedSender;

    use super::*;
    use crate::http::{Handler, ServerLimits, serve};

    #[test]
    fn variables_of_others_may_be_in_any_encoding_and_ours_may_not() {
        let odd = || OsString::from_vec(b"\xff".to_vec());
        let all = [("PATH".into(), odd()), (odd(), "1".into()), ("SECKILL_LANES".into(), "3".into())];
        assert_eq!(ours(all), Ok(vec![("SECKILL_LANES".to_owned(), "3".to_owned())]));
        let bad_value = ours([("SECKILL_LANES".into(), odd())]).unwrap_err();
        assert_eq!(bad_value.to_string(), "SECKILL_LANES: is not UTF-8");
        let bad_name = ours([(OsString::from_vec(b"SECKILL_\xff".to_vec()), "1".into())]).unwrap_err();
        assert_eq!(bad_name.to_string(), "SECKILL_\u{fffd}: there is no such setting");
    }

    #[test]
    fn requests_under_way_get_nearly_all_of_the_time_to_stop() {
        let within = |seconds| Drain::within(Duration::from_secs(seconds)).within;
        assert_eq!([5, 20, 60].map(within), [4, 18, 58].map(Duration::from_secs));
        assert!((1..=600).all(|seconds| within(seconds) < Duration::from_secs(seconds)));
    }

    /// Takes requests, says so, and answers none.
    #[derive(Clone)]
    struct Silent(UnboundedSender<()>);

    impl Handler for Silent {
        async fn handle(self, _: SocketAddr, _: hyper::Request<Incoming>) -> Response {
            let _ = self.0.send(());
            std::future::pending().await
        }
    }

    /// Serves a request that never ends, until `shutdown` and as long after it as it may.
    async fn stuck(shutdown: &CancellationToken) -> (tokio::task::JoinHandle<()>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let served = serve(listener, Silent(begun), ServerLimits::default(), shutdown.clone());
        let served = tokio::spawn(served);
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        begins.recv().await.unwrap();
        (served, client)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_stops_in_time_also_where_one_server_stops_after_another() {
        use rustix::process::{Signal, getpid, kill_process};
        let settings = Settings::from_vars([("SECKILL_SHUTDOWN_S".to_owned(), "5".to_owned())]).unwrap();
        // Not finished in time, it would end this very process.
        let outcome = run_with(settings, async |_, shutdown: CancellationToken| {
            let behind = CancellationToken::new();
            let (door, _visitor) = stuck(&shutdown).await;
            let (service, _caller) = stuck(&behind).await;
            kill_process(getpid(), Signal::TERM).map_err(Failure::failed)?;
            shutdown.cancelled().await;
            let told = Instant::now();
            door.await.map_err(Failure::failed)?;
            assert!(told.elapsed() > Duration::from_secs(3), "its request was waited for");
            behind.cancel();
            service.await.map_err(Failure::failed)?;
            Ok(())
        });
        assert_eq!(format!("{:?}", exit_code("test", outcome)), format!("{:?}", ExitCode::SUCCESS));
    }
}
