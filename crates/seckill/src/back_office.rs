//! A runtime of their own for the services behind the gateway.
//!
//! In a storm a thousand connections are ready to run at any moment. If the consumer that commits orders
//! had to queue up among them for every step it takes, commits would fall ever further behind what is
//! accepted. On threads of its own it competes for the processor, not for a place in that line.

use std::future::Future;

use service_kit::lifecycle::Failure;
use tokio::runtime::{Builder, Runtime};

/// Threads of the services behind the gateway. The databases have threads of their own besides.
const THREADS: usize = 2;

/// The runtime; stops, whatever still runs in it, when it is dropped.
pub(crate) struct BackOffice(Option<Runtime>);

impl BackOffice {
    pub(crate) fn open() -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("back-office")
            .enable_all()
            .build()
            .map_err(Failure::failed)?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `work` in there, and waits for it here.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        match &self.0 {
            Some(runtime) => runtime.spawn(work).await.map_err(Failure::failed)?,
            None => Err(Failure::failed("the back office is closed")),
        }
    }
}

impl Drop for BackOffice {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting is not allowed here; all that mattered has been waited for before.
            runtime.shutdown_background();
        }
    }
}
