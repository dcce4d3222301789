//! `docs/faults.csv` has a line for every counted run, `docs/faults.md` a row for every fault: what is expected
//! beside what those runs measured together.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use super::Fault;
use super::evidence::Evidence;
use crate::run::{Outcome, root};

/// Where nothing was measured yet.
const NOT_YET: &str = "not measured yet";
/// Below the project's root.
const RECORDS: &str = "docs/faults.csv";
const TABLE: &str = "docs/faults.md";

/// What these runs showed together, in a line.
pub(super) fn measured(seen: &[Evidence]) -> String {
    if seen.is_empty() {
        return NOT_YET.into();
    }
    let pauses = seen.iter().map(|e| e.pause.as_secs_f64());
    let (least, most) = (pauses.clone().fold(f64::INFINITY, f64::min), pauses.fold(0.0, f64::max));
    let flight = seen.iter().map(|e| e.in_flight).min().unwrap_or(0);
    let accepted: usize = seen.iter().map(|e| e.accepted).sum();
    let effects = match Evidence::all_seen(seen) {
        none if none.is_empty() => none,
        some => format!("; {some}"),
    };
    let runs = if seen.len() == 1 { "run" } else { "runs" };
    format!(
        "{} counted {runs}, no promise broken; {accepted} orders accepted; {flight} or more under way{effects}; longest \
         pause {least:.1} to {most:.1} s",
        seen.len(),
    )
}

/// Adds a counted run to those on record, and brings the fault's row up to date.
pub(super) fn write(fault: &Fault, seed: u32, seen: &Evidence) -> Outcome {
    let file = root().join(RECORDS);
    let mut line = format!("{},{seed},{}\n", fault.name, seen.record());
    if !file.exists() {
        line.insert_str(0, &format!("fault,seed,{}\n", Evidence::record_head()));
    }
    // Added in one piece: two that run side by side lose nothing of each other.
    let added = OpenOptions::new().create(true).append(true).open(&file);
    added.and_then(|mut f| f.write_all(line.as_bytes())).map_err(|e| format!("{}: {e}", file.display()))?;
    refresh([fault].into_iter())
}

/// The runs of this fault that are on record.
fn on_record(records: &str, fault: &Fault) -> Vec<Evidence> {
    let its = records.lines().filter_map(|line| line.strip_prefix(fault.name)?.strip_prefix(','));
    its.filter_map(|rest| Evidence::of_record(rest.split_once(',')?.1)).collect()
}

/// The document with this fault's row as it should be.
fn with_row(text: &str, fault: &Fault, measured: &str) -> String {
    let head = format!("| `{}` |", fault.name);
    let row = format!("{head} {} | {} | {measured} |", fault.injects, fault.expected);
    let mut lines: Vec<&str> = text.lines().collect();
    match lines.iter().position(|line| line.starts_with(&head)) {
        Some(at) => lines[at] = &row,
        None => lines.push(&row),
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
        let run = "256,7,100,0,0,0,0,0,0,0,0,0";
        let records = format!("fault\n{0},1,{run}\nother,2,{run}\n{0},3,{run}\n", fault.name);
        assert!(
            measured(&on_record(&records, fault)).starts_with("2 counted runs, no promise broken; 14 orders")
        );
    }

    #[test]
    fn the_record_has_the_head_of_what_is_written_now() {
        let records = fs::read_to_string(root().join(RECORDS)).unwrap();
        assert_eq!(records.lines().next().unwrap(), format!("fault,seed,{}", Evidence::record_head()));
        let unread: Vec<&str> = records
            .lines()
            .skip(1)
            .filter(|line| {
                let rest = line.splitn(3, ',').nth(2).unwrap_or_default();
                Evidence::of_record(rest).is_none()
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
