//! What a disk holds after the power went at one moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Random;
use super::trace::{Happening, Trace};
use crate::run::Outcome;

/// What a disk writes whole: a sector.
const SECTOR_BYTES: usize = 512;

/// The files below the data folder.
pub(super) struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    unsynced: usize,
    torn_or_lost: usize,
}

impl Disk {
    /// The disk at `cut_at`: what a sync that had ended covers is there. Of every other write, each sector
    /// is there or not, by chance. Names and lengths are there as they were asked for: the file systems
    /// this is for keep them in order.
    pub(super) fn at(trace: &Trace, cut_at: u64, random: &mut Random) -> Self {
        let mut disk = Self { files: BTreeMap::new(), unsynced: 0, torn_or_lost: 0 };
        let until = trace.happenings.partition_point(|h| h.time() <= cut_at);
        for (happening, safe_at) in trace.happenings.iter().zip(&trace.safe_at).take(until) {
            match happening {
                Happening::Write { file, at, bytes, .. } => {
                    let safe = safe_at.is_some_and(|at| at <= cut_at);
                    disk.put(file, *at, bytes, (!safe).then_some(&mut *random));
                }
                Happening::Truncate { file, len, .. } => {
                    disk.files.entry(file.clone()).or_default().resize(*len, 0);
                }
                Happening::Unlink { file, .. } => {
                    disk.files.remove(file);
                }
                Happening::Sync { .. } | Happening::Answer { .. } => {}
            }
        }
        disk
    }

    fn put(&mut self, file: &str, at: usize, bytes: &[u8], mut chance: Option<&mut Random>) {
        let content = self.files.entry(file.to_owned()).or_default();
        if content.len() < at + bytes.len() {
            content.resize(at + bytes.len(), 0);
        }
        if chance.is_some() {
            self.unsynced += 1;
        }
        let mut lost = false;
        let mut from = 0;
        while from < bytes.len() {
            // Sectors are those of the file, not of the write.
            let to = (from + SECTOR_BYTES - (at + from) % SECTOR_BYTES).min(bytes.len());
            if chance.as_mut().is_none_or(|random| random.below(2) == 0) {
                content[at + from..at + to].copy_from_slice(&bytes[from..to]);
            } else {
                lost = true;
            }
            from = to;
        }
        self.torn_or_lost += usize::from(lost);
    }

    /// Writes the files out. The shared-memory index of the write-ahead log is not among them: it does
    /// not survive a power cut, and is never written with `pwrite`.
    pub(super) fn write(&self, data: &Path) -> Outcome {
        fs::create_dir_all(data).map_err(|e| e.to_string())?;
        for (name, content) in &self.files {
            let path = data.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|e| e.to_string())?;
            }
            fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(())
    }

    /// What was lost, for people.
    pub(super) fn loss(&self) -> String {
        format!("{} of {} unsynced writes torn or lost", self.torn_or_lost, self.unsynced)
    }
}
