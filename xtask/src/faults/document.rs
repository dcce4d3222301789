//! `docs/faults.md`: a row per fault, what is expected beside what was measured.

use std::fs;

use super::Fault;
use super::evidence::Evidence;
use crate::run::{Outcome, root};

/// Where nothing was measured yet.
const NOT_YET: &str = "not measured yet";

/// What so many runs showed, in a line.
pub(super) fn measured(runs: u32, uncounted: u32, seen: &[Evidence]) -> String {
    if seen.is_empty() {
        return format!("0 of {runs} runs counted");
    }
    let pauses = seen.iter().map(|e| e.pause.as_secs_f64());
    let (least, most) = (pauses.clone().fold(f64::INFINITY, f64::min), pauses.fold(0.0, f64::max));
    let flight = seen.iter().map(|e| e.in_flight).min().unwrap_or(0);
    let accepted: usize = seen.iter().map(|e| e.accepted).sum();
    let without =
        if uncounted == 0 { String::new() } else { format!(" ({uncounted} more showed no effect)") };
    format!(
        "{} of {runs} runs counted{without}, no promise broken in them; {accepted} orders accepted; {flight} or more under \
         way; {}; longest pause {least:.1} to {most:.1} s",
        seen.len(),
        Evidence::all_seen(seen)
    )
}

/// Writes this into the fault's row of the document.
pub(super) fn write(fault: &Fault, measured: &str) -> Outcome {
    let file = root().join("docs/faults.md");
    let told = |e: std::io::Error| format!("{}: {e}", file.display());
    let text = fs::read_to_string(&file).map_err(told)?;
    fs::write(&file, with_row(&text, fault, Some(measured))).map_err(told)
}

/// The document with this fault's row as it should be: what was measured stays unless something newer is given.
fn with_row(text: &str, fault: &Fault, measured: Option<&str>) -> String {
    let head = format!("| `{}` |", fault.name);
    let there = text.lines().find(|line| line.starts_with(&head));
    let before = there.and_then(|line| line.trim_end_matches(" |").rsplit_once(" | ")).map(|(_, last)| last);
    let measured = measured.or(before).unwrap_or(NOT_YET);
    let row = format!("{head} {} | {} | {measured} |", fault.injects, fault.expected);
    let mut lines: Vec<&str> = text.lines().collect();
    match lines.iter().position(|line| line.starts_with(&head)) {
        Some(at) => lines[at] = &row,
        None => lines.push(&row),
    }
    lines.join("\n") + "\n"
}

/// Brings every row up to date with the catalogue.
pub(super) fn refresh<'a>(faults: impl Iterator<Item = &'a Fault>) -> Outcome {
    let file = root().join("docs/faults.md");
    let told = |e: std::io::Error| format!("{}: {e}", file.display());
    let text = fs::read_to_string(&file).map_err(told)?;
    let text = faults.fold(text, |text, fault| with_row(&text, fault, None));
    fs::write(&file, text).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::catalogue;

    #[test]
    fn a_row_keeps_what_was_measured_until_something_newer_is() {
        let fault = catalogue::all().next().unwrap();
        let first = with_row("# Faults\n", fault, None);
        assert!(first.ends_with(&format!("{} | {NOT_YET} |\n", fault.expected)));
        let second = with_row(&first, fault, Some("20 of 20"));
        assert_eq!(second.lines().count(), 2);
        assert_eq!(with_row(&second, fault, None), second);
    }

    #[test]
    fn the_document_has_every_fault_as_the_catalogue_tells_it() {
        let text = fs::read_to_string(root().join("docs/faults.md")).unwrap();
        let fresh = catalogue::all().fold(text.clone(), |text, fault| with_row(&text, fault, None));
        assert_eq!(text, fresh, "cargo xtask faults --list --write brings it up to date");
    }
}
