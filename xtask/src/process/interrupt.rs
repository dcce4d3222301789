//! What must be gone when this program is asked to stop: children and temporary folders.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::family;
use crate::run::{Outcome, pause};

static CHILDREN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
static HOMES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// How the names of our folders begin; the process id of their owner follows.
const PREFIX: &str = "seckill-xtask-";

/// The children. Held while one is started: none is started behind the back of [`end_all`].
pub(super) fn registered() -> MutexGuard<'static, BTreeSet<u32>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary folder that other users may enter, gone with its owner or with an interrupt.
pub(crate) struct Home(TempDir);

impl Home {
    /// A new one.
    pub(crate) fn new() -> Outcome<Self> {
        sweep();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().map_err(|e| e.to_string())?;
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).map_err(|e| e.to_string())?;
        HOMES.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.path().to_path_buf());
        Ok(Self(folder))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A folder in it, made.
    pub(crate) fn folder(&self, name: &str) -> Outcome<PathBuf> {
        let folder = self.path().join(name);
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(folder)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        HOMES.lock().unwrap_or_else(PoisonError::into_inner).remove(self.path());
    }
}

/// Removes what a run left behind that was killed itself.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|n| n.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Ends everything, then this program, on the first interrupt, terminate or hang-up signal.
pub(crate) fn watch() -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(|e| e.to_string())?;
    let entered = runtime.enter();
    let listen = |kind| signal(kind).map_err(|e| e.to_string());
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    drop(entered);
    std::thread::spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
                _ = hang_up.recv() => 1,
            }
        });
        end_all();
        // As a shell tells of a program that a signal ended.
        std::process::exit(128 + number);
    });
    Ok(())
}

fn end_all() {
    // Kept until the end of the program: nothing is started any more.
    let children = registered();
    for pid in children.iter() {
        let _ = family::tell_all(*pid, Signal::KILL);
    }
    for pid in children.iter() {
        family::reap(*pid);
    }
    let homes = HOMES.lock().unwrap_or_else(PoisonError::into_inner);
    for home in homes.iter() {
        // A process that is dying may still write: once more, then.
        for _ in 0..10 {
            if fs::remove_dir_all(home).is_ok() {
                break;
            }
            pause(std::time::Duration::from_millis(20));
        }
    }
    std::mem::forget(children);
}
