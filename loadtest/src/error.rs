//! Why a run cannot be played or judged.

use crate::journal::JournalError;
use crate::platform::PlatformError;
use crate::venue::VenueError;

/// Not a verdict: the load test itself could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// No sale to storm.
    #[error(transparent)]
    Venue(#[from] VenueError),
    /// The platform does not tell what the verdict needs.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The JSON file, or a runtime.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A bug in a generator thread.
    #[error("a generator thread panicked")]
    Generator,
    /// Nobody to speak to the operators as.
    #[error("--admin-token is missing, and no demo keeps its secrets in ./data")]
    NeedsToken,
    /// Too many buyers to log in one by one.
    #[error("more than {0} buyers need --jwt-secret: the demo login is too slow for them")]
    NeedsSecret(u64),
    /// Goose.
    #[error("goose: {0}")]
    Goose(String),
    /// What was to be raced did not come about.
    #[error("{0}")]
    Setup(String),
}
