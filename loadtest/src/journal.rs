//! The client's own account of what it was promised: every 202, written down when it arrives.
//!
//! The file is lines of JSON: a head (what was sold, to whom the names belong), an entry per 202, and
//! a foot when the run ended in order. A run whose journal has no foot can still be judged.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Entries written between two flushes to the file.
const LINES_PER_FLUSH: usize = 64;

/// What was sold: enough to judge a journal without the run that wrote it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    /// The sale.
    pub(crate) sale: String,
    /// Units offered.
    pub(crate) stock: u32,
    /// Live units one buyer may hold.
    pub(crate) per_user_limit: u32,
    /// Units taken before the run began.
    pub(crate) taken_before: u32,
}

/// A 202.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The order id it carried.
    pub(crate) order: Box<str>,
    /// Who was promised.
    pub(crate) buyer: Box<str>,
    /// Units.
    pub(crate) quantity: u32,
    /// The ticket it answered.
    pub(crate) ticket: Box<str>,
    /// Whether it said itself that the ledger has refused the order: whose ticket outlived its place is told so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) refused: bool,
}

/// How the run ended, in units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Foot {
    /// Wanted by buyers who were accepted or refused for want of stock.
    pub(crate) demand: u64,
    /// Asked for by buyers who gave up without a telling answer.
    pub(crate) unknown: u64,
    /// Answers outside the contract.
    pub(crate) wrong: u64,
    /// Refusals that these buyers gave no reason for.
    #[serde(default)]
    pub(crate) refused: u64,
}

/// A whole journal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Account {
    /// What was sold.
    pub(crate) head: Head,
    /// The 202s, in order of arrival.
    pub(crate) entries: Vec<Entry>,
    /// How the run ended, if it did.
    pub(crate) foot: Option<Foot>,
}

/// Why a journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The file.
    #[error("the journal {0}: {1}")]
    Io(String, #[source] std::io::Error),
    /// A line in the middle is not a journal's.
    #[error("the journal's line {0} does not parse: {1}")]
    Line(usize, #[source] serde_json::Error),
    /// There is no head.
    #[error("the journal is empty")]
    Empty,
}

#[derive(Debug)]
struct Inner {
    entries: Vec<Entry>,
    file: Option<BufWriter<File>>,
    unflushed: usize,
    failed: Option<std::io::Error>,
}

/// A journal being written; shared by all tasks of a run.
#[derive(Debug)]
pub(crate) struct Journal {
    head: Head,
    inner: Mutex<Inner>,
}

impl Journal {
    /// A journal in memory and, with a path, in a file.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub(crate) fn create(head: Head, path: Option<&Path>) -> Result<Self, JournalError> {
        let open = |path: &Path| -> std::io::Result<BufWriter<File>> {
            let mut file = BufWriter::new(File::create(path)?);
            serde_json::to_writer(&mut file, &head)?;
            file.write_all(b"\n")?;
            file.flush()?;
            Ok(file)
        };
        let file = path.map(|p| open(p).map_err(|e| JournalError::Io(p.display().to_string(), e)));
        let inner = Inner { entries: Vec::new(), file: file.transpose()?, unflushed: 0, failed: None };
        Ok(Self { head, inner: Mutex::new(inner) })
    }

    /// Writes a 202 down.
    pub(crate) fn add(&self, entry: Entry) {
        let mut inner = self.lock();
        if let Err(e) = inner.write(&entry, LINES_PER_FLUSH) {
            inner.failed.get_or_insert(e);
        }
        inner.entries.push(entry);
    }

    /// Hands what was written to the system; a failure is told when the journal is closed.
    pub(crate) fn flush(&self) {
        let mut inner = self.lock();
        if let Some(Err(e)) = inner.file.as_mut().map(Write::flush) {
            inner.failed.get_or_insert(e);
        }
    }

    /// Ends the journal and gives the account.
    ///
    /// # Errors
    /// When the file did not take all of it.
    pub(crate) fn close(&self, foot: Foot) -> Result<Account, JournalError> {
        let mut inner = self.lock();
        let written = inner.write(&foot, 0);
        let failed = inner.failed.take().or(written.err());
        if let Some(e) = failed {
            return Err(JournalError::Io("file".into(), e));
        }
        let entries = std::mem::take(&mut inner.entries);
        Ok(Account { head: self.head.clone(), entries, foot: Some(foot) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, line: &impl Serialize, hold: usize) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        serde_json::to_writer(&mut *file, line)?;
        file.write_all(b"\n")?;
        self.unflushed += 1;
        if self.unflushed >= hold {
            self.unflushed = 0;
            file.flush()?;
        }
        Ok(())
    }
}

impl Account {
    /// Reads a journal back. A last line that was cut off is left out: it was never a whole entry.
    ///
    /// # Errors
    /// When the file cannot be read, has no head, or is broken in the middle.
    pub(crate) fn read(path: &Path) -> Result<Self, JournalError> {
        let io = |e| JournalError::Io(path.display().to_string(), e);
        let lines: Vec<String> =
            BufReader::new(File::open(path).map_err(io)?).lines().collect::<Result<_, _>>().map_err(io)?;
        let (first, rest) = lines.split_first().ok_or(JournalError::Empty)?;
        let head = serde_json::from_str(first).map_err(|e| JournalError::Line(1, e))?;
        let mut account = Self { head, entries: Vec::with_capacity(rest.len()), foot: None };
        for (n, line) in rest.iter().enumerate() {
            match serde_json::from_str::<Entry>(line) {
                Ok(entry) => account.entries.push(entry),
                Err(_) if n + 1 == rest.len() => account.foot = serde_json::from_str(line).ok(),
                Err(e) => return Err(JournalError::Line(n + 2, e)),
            }
        }
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u32) -> Entry {
        Entry {
            order: format!("o-{n}").into(),
            buyer: format!("b-{n}").into(),
            quantity: 1,
            ticket: "t".into(),
            refused: n.is_multiple_of(7),
        }
    }

    #[test]
    fn a_journal_reads_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let head = Head { sale: "s".into(), stock: 9, per_user_limit: 1, taken_before: 0 };
        let journal = Journal::create(head, Some(&path)).unwrap();
        (0..100).for_each(|n| journal.add(entry(n)));
        let account = journal.close(Foot { demand: 3, unknown: 1, ..Foot::default() }).unwrap();
        assert_eq!(account.entries.len(), 100);
        assert_eq!(Account::read(&path).unwrap(), account);
    }

    #[test]
    fn a_journal_cut_off_by_a_kill_keeps_its_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let journal = Journal::create(Head::default(), Some(&path)).unwrap();
        (0..200).for_each(|n| journal.add(entry(n)));
        let mut text = std::fs::read_to_string(&path).unwrap();
        let whole = text.lines().count() - 1;
        assert!(whole >= 200 - LINES_PER_FLUSH, "flushed per batch: {whole}");
        text.push_str(r#"{"order":"o-2"#);
        std::fs::write(&path, &text).unwrap();
        let account = Account::read(&path).unwrap();
        assert!(account.foot.is_none());
        assert!(account.entries.len() >= whole - 1);
        std::fs::write(&path, text.replacen("\"order\"", "\"odor\"", 1)).unwrap();
        assert!(matches!(Account::read(&path), Err(JournalError::Line(2, _))));
    }
}
