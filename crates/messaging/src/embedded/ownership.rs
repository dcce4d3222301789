//! One owner per file: two brokers on one database would deliver every message twice.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::QueueError;

/// Between two looks at a lock that someone else holds, in milliseconds.
const LOOK_AGAIN_MS: u64 = 20;

/// Held by the broker that owns the file. The system lets go of it with the process, however it ends.
#[derive(Debug)]
pub(super) struct Ownership {
    _lock: File,
}

impl Ownership {
    /// Takes the ownership of the database at `path`, waiting `wait_ms_max` for a former owner to go.
    pub(super) async fn take(path: &Path, wait_ms_max: u64) -> Result<Self, QueueError> {
        let beside = lock_path(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| unreachable_at(folder, &e))?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&beside)
            .map_err(|e| unreachable_at(&beside, &e))?;
        let deadline = Instant::now() + Duration::from_millis(wait_ms_max);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _lock: file }),
                Err(TryLockError::Error(e)) => return Err(unreachable_at(&beside, &e)),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(QueueError::Refused(format!(
                        "{} is in use by another broker; stop it, or choose another data directory",
                        path.display()
                    )));
                }
                Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(LOOK_AGAIN_MS)).await,
            }
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn unreachable_at(path: &Path, error: &std::io::Error) -> QueueError {
    QueueError::Unreachable(format!("{}: {error}", path.display()))
}
