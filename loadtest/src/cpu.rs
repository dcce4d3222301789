//! Processor time of this program: what the generator costs is part of a measurement's worth.

use std::time::Duration;

/// Length of the kernel's accounting tick in milliseconds (`USER_HZ` is 100 on Linux).
const TICK_MS: u64 = 10;

/// User and system time spent so far; zero where the kernel does not tell.
pub(crate) fn spent() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    Duration::from_millis(ticks(&stat).unwrap_or(0) * TICK_MS)
}

/// Fields 14 and 15, counted after the program's name, which may hold blanks and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0";
        assert_eq!(super::ticks(stat), Some(42));
        assert_eq!(super::ticks(""), None);
    }
}
