//! Processor time of processes, their children included.

use std::collections::BTreeMap;
use std::fs;

/// The kernel's unit for user space is fixed at a hundredth of a second.
const TICKS_PER_S: f64 = 100.0;

/// What every process had spent at one moment.
pub(super) struct Spent(BTreeMap<u32, (u32, f64)>);

impl Spent {
    /// Now.
    pub(super) fn now() -> Self {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        Self(processes.filter_map(|p| line(p.file_name().to_str()?.parse().ok()?)).collect())
    }

    /// Seconds that this process and its descendants have spent since `before`. Short-lived children
    /// count by what their parents were told when they ended.
    pub(super) fn since(&self, before: &Self, pid: u32) -> f64 {
        let family: Vec<u32> = self.0.keys().copied().filter(|p| self.descends(*p, pid)).collect();
        let sum = |at: &Self| family.iter().filter_map(|p| at.0.get(p)).map(|(_, s)| s).sum::<f64>();
        sum(self) - sum(before)
    }

    fn descends(&self, mut process: u32, ancestor: u32) -> bool {
        while process != ancestor {
            match self.0.get(&process) {
                Some((parent, _)) if *parent > 1 => process = *parent,
                _ => return false,
            }
        }
        true
    }
}

/// A process, its parent, and the seconds it and its reaped children have spent.
fn line(pid: u32) -> Option<(u32, (u32, f64))> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, parentheses too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let ticks: f64 = fields.get(11..15)?.iter().filter_map(|f| f.parse::<f64>().ok()).sum();
    Some((pid, (parent, ticks / TICKS_PER_S)))
}
