//! The record of what operators did: one line before each act, one after it, appended and never changed.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

/// Bytes of a request's body that are kept: what was asked for.
const BODY_BYTES_MAX: usize = 1024;

/// One line of the record.
#[derive(Serialize, Debug)]
pub(crate) struct Act<'a> {
    /// Unix milliseconds.
    pub at: i64,
    /// Ties an act's two lines together, and to the logs of all services.
    pub request: &'a str,
    /// The other end of the connection. There is one operators' token; it is never written.
    pub peer: &'a str,
    /// What was asked.
    pub method: &'a str,
    /// Of what.
    pub path: &'a str,
    /// In which words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// How it ended; absent in the line before the act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl Act<'_> {
    /// A body as the record keeps it.
    #[must_use]
    pub(crate) fn words(body: &[u8]) -> Option<String> {
        let kept = &body[..body.len().min(BODY_BYTES_MAX)];
        (!kept.is_empty()).then(|| String::from_utf8_lossy(kept).into_owned())
    }
}

/// Where acts are recorded: always in the log (target `audit`), and in a file if one is named.
#[derive(Clone, Default, Debug)]
pub struct AuditLog(Option<Arc<Mutex<File>>>);

impl AuditLog {
    /// Opens the file for appending.
    ///
    /// # Errors
    /// When it cannot be opened or created.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Some(Arc::new(Mutex::new(file)))))
    }

    /// Records one line, and has it on the disk before it returns.
    ///
    /// # Errors
    /// When it cannot be written: then the act must not be done.
    pub(crate) async fn record(&self, act: &Act<'_>) -> std::io::Result<()> {
        let mut line = serde_json::to_string(act)?;
        tracing::info!(target: "audit", "{line}");
        let Some(file) = self.0.clone() else { return Ok(()) };
        line.push('\n');
        let written = tokio::task::spawn_blocking(move || {
            let mut file = file.lock();
            // One write a line: appended whole, also beside another process's.
            file.write_all(line.as_bytes())?;
            file.sync_data()
        });
        written.await.map_err(std::io::Error::other)?
    }
}
