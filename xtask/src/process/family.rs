//! A process and its descendants, as `/proc` shows them.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::run::Outcome;

/// Sends a signal to one process. One that is gone is no error.
pub(super) fn tell(pid: u32, signal: Signal) -> Outcome {
    let Some(target) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Err(format!("{pid} is no process id"));
    };
    match kill_process(target, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(format!("signal to process {pid}: {e}")),
    }
}

/// Sends a signal to a process and its descendants: the parent first, lest it start what was ended anew.
pub(super) fn tell_all(pid: u32, signal: Signal) -> Outcome {
    let below = descendants(pid);
    tell(pid, signal)?;
    for child in below {
        tell(child, signal)?;
    }
    Ok(())
}

/// Waits for the end of a child of ours that was killed. Its owner may have done so already.
pub(super) fn reap(pid: u32) {
    let child = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ = waitpid(child, WaitOptions::empty());
}

/// All descendants of a process. They may be in sessions of their own, as Postgres' backends are.
fn descendants(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(parent) = parent_of(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let (mut found, mut to_visit) = (Vec::new(), vec![pid]);
    while let Some(next) = to_visit.pop() {
        let below = children.remove(&next).unwrap_or_default();
        found.extend(&below);
        to_visit.extend(below);
    }
    found
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; state and parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
