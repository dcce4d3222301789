//! Waiting for what a process depends on, and saying for what: in the log, and at `/readyz`.

use std::future::Future;
use std::time::Duration;

use service_kit::health::{self, Health};
use service_kit::http::{ServerLimits, bind, serve};
use service_kit::lifecycle::Failure;
use service_kit::telemetry::Metrics;
use service_kit::{Settings, SettingsError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Between two attempts to open a part.
const TRY_AGAIN_MS: u64 = 500;
/// Attempts between two lines in the log.
const LOG_EVERY: u64 = 10;

/// A process that opens its parts. Meanwhile its operators' listener answers: it lives, and is not ready.
pub struct Opening {
    health: Health,
    shutdown: CancellationToken,
    /// Ends the answering above.
    opened: CancellationToken,
    listener: std::net::TcpListener,
    answering: tokio::task::JoinHandle<()>,
}

impl Opening {
    /// Binds the operators' listener and answers there.
    ///
    /// # Errors
    /// A bad or taken `SECKILL_ADMIN_LISTEN`.
    pub async fn begin(
        settings: &Settings,
        metrics: &Metrics,
        shutdown: CancellationToken,
    ) -> Result<Self, Failure> {
        const NAME: &str = "SECKILL_ADMIN_LISTEN";
        let listener = bind(NAME, settings.address(NAME)?).await?;
        let listener = listener.into_std().map_err(Failure::failed)?;
        // The same socket twice: what waits to be accepted survives the change of hands.
        let meanwhile = listener.try_clone().and_then(TcpListener::from_std).map_err(Failure::failed)?;
        let (health, opened) = (Health::default(), shutdown.child_token());
        let limits = ServerLimits { drain: Duration::ZERO, ..ServerLimits::default() };
        let answers = health::listener_while_opening(&health, metrics);
        let answering = tokio::spawn(serve(meanwhile, answers, limits, opened.clone()));
        Ok(Self { health, shutdown, opened, listener, answering })
    }

    /// Opens one part: see [`patiently`].
    ///
    /// # Errors
    /// As there.
    pub async fn part<T, F>(&self, name: &'static str, open: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Unopened>>,
    {
        patiently(&self.health, &self.shutdown, name, open).await
    }

    /// Everything is open: hands the operators' listener over.
    ///
    /// # Errors
    /// When the system does not take the listener back.
    pub async fn done(self) -> Result<TcpListener, Failure> {
        self.opened.cancel();
        // Ends by itself: it was told to.
        let _ = self.answering.await;
        TcpListener::from_std(self.listener).map_err(Failure::failed)
    }
}

/// Opens one part, again and again until it is there. What waiting cannot mend ends it at once.
///
/// # Errors
/// That, or that the process was asked to stop meanwhile.
pub async fn patiently<T, F>(
    health: &Health,
    shutdown: &CancellationToken,
    name: &'static str,
    mut open: impl FnMut() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Unopened>>,
{
    health.needs(name);
    for attempt in 0_u64.. {
        let opened = tokio::select! {
            opened = open() => opened,
            () = shutdown.cancelled() => break,
        };
        let why = match opened {
            Ok(part) => {
                health.up(name);
                return Ok(part);
            }
            Err(Unopened::Settings(mistake)) => return Err(mistake.into()),
            Err(Unopened::Broken(why)) => {
                return Err(Failure::failed(format_args!("{name} does not open: {why}")));
            }
            Err(Unopened::Away(why)) => why,
        };
        if attempt % LOG_EVERY == 0 {
            tracing::warn!(why, "waiting for {name}");
        }
        health.down(name, why);
        let pause = tokio::time::sleep(Duration::from_millis(TRY_AGAIN_MS));
        if shutdown.run_until_cancelled(pause).await.is_none() {
            break;
        }
    }
    Err(Failure::Stopped)
}

/// Why a part is not open.
#[derive(Debug, thiserror::Error)]
pub enum Unopened {
    /// It never will be with these settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It is there, and broken: waiting does not mend it.
    #[error("{0}")]
    Broken(String),
    /// It is away: later it may be there.
    #[error("{0}")]
    Away(String),
}
