//! `docs/faults.csv` has a line for every counted run, `docs/faults.md` a row for every fault: what is expected
//! beside what those runs measured together.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use super::Fault;
use super::evidence::Evidence;
use super::run::BROKEN;
use crate::run::{Outcome, root};

/// Where nothing was measured yet.
const NOT_YET: &str = "not measured yet";
/// The head of the record's last column. Older lines end before it: they were written only for runs that kept their
/// promises.
const BROKEN_HEAD: &str = "promise broken";
/// Below the project's root.
const RECORDS: &str = "docs/faults.csv";
const TABLE: &str = "docs/faults.md";

/// A run that counts: it kept its promises and showed its effect, or it broke a promise, whatever it showed.
pub(super) struct Counted {
    /// What was seen of it.
    pub(super) seen: Evidence,
    /// The promise it broke.
    pub(super) broken: Option<String>,
    /// Whether its line is of before a run could be on record that broke one.
    pub(super) is_older: bool,
}

impl Counted {
    /// The names of what [`Self::record`] writes, in its order.
    fn record_head() -> String {
        format!("{},{BROKEN_HEAD}", Evidence::record_head())
    }

    /// All of it, separated by commas.
    fn record(&self) -> String {
        let broken = self.broken.as_deref().map(in_a_field).unwrap_or_default();
        format!("{},{broken}", self.seen.record())
    }

    /// What [`Self::record`] wrote; nothing if it is something else. Everything but a broken promise is a number.
    fn of_record(text: &str) -> Option<Self> {
        let (numbers, last) = text.rsplit_once(',')?;
        if last.parse::<f64>().is_ok() {
            return Some(Self { seen: Evidence::of_record(text)?, broken: None, is_older: true });
        }
        let broken = (!last.is_empty()).then(|| last.to_owned());
        Some(Self { seen: Evidence::of_record(numbers)?, broken, is_older: false })
    }
}

/// The first line of what broke, as the record takes it: fields are not quoted there.
fn in_a_field(broken: &str) -> String {
    let line = broken.lines().next().unwrap_or_default();
    line.strip_prefix(BROKEN).unwrap_or(line).replace(',', ";").replace('"', "'")
}

/// What these runs showed, in a line: those that are judged as all are now, or, where there is none, the older ones.
pub(super) fn measured(runs: &[Counted]) -> String {
    let (older, newer): (Vec<_>, Vec<_>) = runs.iter().partition(|run| run.is_older);
    match (newer.is_empty(), older.is_empty()) {
        (true, true) => NOT_YET.into(),
        (false, true) => together(&newer),
        (true, false) => format!("older runs: {}", together(&older)),
        (false, false) => format!("{}; besides, {} older runs", together(&newer), older.len()),
    }
}

/// What these runs showed together; there is one at least.
fn together(runs: &[&Counted]) -> String {
    let seen = runs.iter().map(|run| &run.seen);
    let pauses = seen.clone().map(|e| e.pause.as_secs_f64());
    let (least, most) = (pauses.clone().fold(f64::INFINITY, f64::min), pauses.fold(0.0, f64::max));
    let connections = seen.clone().map(|e| e.connections).min().unwrap_or(0);
    let accepted: usize = seen.clone().map(|e| e.accepted).sum();
    let effects = match Evidence::all_seen(seen) {
        none if none.is_empty() => none,
        some => format!("; {some}"),
    };
    let (all, word) = (runs.len(), if runs.len() == 1 { "run" } else { "runs" });
    let promises = match runs.iter().filter(|run| run.broken.is_some()).count() {
        0 => format!("{all} counted {word}, no promise broken"),
        some => format!("{some} of {all} counted {word} broke a promise"),
    };
    format!(
        "{promises}; {accepted} orders accepted; {connections} or more connections of buyers{effects}; longest \
         pause {least:.1} to {most:.1} s"
    )
}

/// Adds a counted run to those on record, and brings the fault's row up to date.
pub(super) fn write(fault: &Fault, seed: u32, run: &Counted) -> Outcome {
    let file = root().join(RECORDS);
    let mut line = format!("{},{seed},{}\n", fault.name, run.record());
    if !file.exists() {
        line.insert_str(0, &format!("fault,seed,{}\n", Counted::record_head()));
    }
    // Added in one piece: two that run side by side lose nothing of each other.
    let added = OpenOptions::new().create(true).append(true).open(&file);
    added.and_then(|mut f| f.write_all(line.as_bytes())).map_err(|e| format!("{}: {e}", file.display()))?;
    refresh([fault].into_iter())
}

/// The runs of this fault that are on record.
fn on_record(records: &str, fault: &Fault) -> Vec<Counted> {
    let its = records.lines().filter_map(|line| line.strip_prefix(fault.name)?.strip_prefix(','));
    its.filter_map(|rest| Counted::of_record(rest.split_once(',')?.1)).collect()
}

/// The document with this fault's row as it should be.
fn with_row(text: &str, fault: &Fault, measured: &str) -> String {
    let head = format!("| `{}` |", fault.name);
    let row = format!("{head} {} | {} | {measured} |", fault.injects, fault.expected);
    let mut lines: Vec<&str> = text.lines().collect();
    match lines.iter().position(|line| line.starts_with(&head)) {
        Some(at) => lines[at] = &row,
        None => {
            let end =
                lines.iter().rposition(|line| line.starts_with('|')).map_or(lines.len(), |last| last + 1);
            lines.insert(end, &row);
        }
    }
    lines.join("\n") + "\n"
}

/// Brings these rows up to date with the catalogue and the record.
pub(super) fn refresh<'a>(faults: impl Iterator<Item = &'a Fault>) -> Outcome {
    let file = root().join(TABLE);
    let told = |e: std::io::Error| format!("{}: {e}", file.display());
    let records = fs::read_to_string(root().join(RECORDS)).unwrap_or_default();
    let text = fs::read_to_string(&file).map_err(told)?;
    let text =
        faults.fold(text, |text, fault| with_row(&text, fault, &measured(&on_record(&records, fault))));
    fs::write(&file, text).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::catalogue;

    #[test]
    fn a_fault_has_one_row_and_all_its_runs() {
        let fault = catalogue::all().next().unwrap();
        let first = with_row("# Faults\n", fault, NOT_YET);
        assert!(first.ends_with(&format!("{} | {NOT_YET} |\n", fault.expected)));
        assert_eq!(with_row(&first, fault, "20 counted runs").lines().count(), 2);
        let told_more = with_row("| fault |\n|---|\n\nMore.\n", fault, NOT_YET);
        assert!(
            told_more.ends_with(&format!("| {NOT_YET} |\n\nMore.\n")),
            "behind the last row: {told_more}"
        );
        let run = "256,7,100,0,0,0,0,0,0,0,0,0";
        let records = format!("fault\n{0},1,{run}\nother,2,{run}\n{0},3,{run}\n", fault.name);
        let told = measured(&on_record(&records, fault));
        assert!(told.starts_with("older runs: 2 counted runs, no promise broken; 14 orders"), "{told}");
        let now = Counted { seen: Evidence::default(), broken: None, is_older: false };
        let records = format!("{records}{},4,{}\n", fault.name, now.record());
        let told = measured(&on_record(&records, fault));
        assert!(told.starts_with("1 counted run, no promise broken; 0 orders"), "{told}");
        assert!(told.ends_with("; besides, 2 older runs"), "{told}");
    }

    #[test]
    fn a_broken_promise_is_on_record_and_is_told() {
        let fault = catalogue::all().next().unwrap();
        let why = "broken: never oversell: taken 9, \"of\" 8\nmore";
        let kept = Counted { seen: Evidence::default(), broken: None, is_older: false };
        let broke = Counted { seen: Evidence::default(), broken: Some(why.into()), is_older: false };
        let fields = |text: &str| text.split(',').count();
        assert_eq!(fields(&kept.record()), fields(&Counted::record_head()));
        assert_eq!(fields(&broke.record()), fields(&Counted::record_head()));
        let records = format!("{0},1,{1}\n{0},2,{2}\n", fault.name, kept.record(), broke.record());
        let runs = on_record(&records, fault);
        assert_eq!(runs[0].broken, None);
        assert_eq!(runs[1].broken.as_deref(), Some("never oversell: taken 9; 'of' 8"));
        assert!(measured(&runs).starts_with("1 of 2 counted runs broke a promise; 0 orders"));
    }

    #[test]
    fn the_record_has_the_head_of_what_is_written_now() {
        let records = fs::read_to_string(root().join(RECORDS)).unwrap();
        assert_eq!(records.lines().next().unwrap(), format!("fault,seed,{}", Counted::record_head()));
        let unread: Vec<&str> = records
            .lines()
            .skip(1)
            .filter(|line| {
                let rest = line.splitn(3, ',').nth(2).unwrap_or_default();
                Counted::of_record(rest).is_none()
            })
            .collect();
        assert!(unread.is_empty(), "not read: {unread:?}");
    }

    #[test]
    fn the_document_tells_what_is_in_the_catalogue_and_on_record() {
        let records = fs::read_to_string(root().join(RECORDS)).unwrap();
        let text = fs::read_to_string(root().join(TABLE)).unwrap();
        for fault in catalogue::all() {
            let measured = measured(&on_record(&records, fault));
            assert_eq!(
                with_row(&text, fault, &measured),
                text,
                "cargo xtask faults --list --write brings {} up to date",
                fault.name
            );
        }
    }
}
