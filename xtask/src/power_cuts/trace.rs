//! Reading strace's files: who wrote what to which file when, what was synced when, what was answered.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::run::Outcome;

/// Something the platform asked of the kernel; times in microseconds, as (began, ended).
pub(super) enum Happening {
    Write {
        file: String,
        at: usize,
        bytes: Vec<u8>,
        ended: u64,
    },
    Truncate {
        file: String,
        len: usize,
        ended: u64,
    },
    Unlink {
        file: String,
        ended: u64,
    },
    Sync {
        file: String,
        began: u64,
        ended: u64,
    },
    /// A 202 was given to the network, for this order.
    Answer {
        order: String,
        began: u64,
    },
}

impl Happening {
    /// When its effect is complete; an answer counts from when it began to leave.
    pub(super) fn time(&self) -> u64 {
        match self {
            Self::Write { ended, .. }
            | Self::Truncate { ended, .. }
            | Self::Unlink { ended, .. }
            | Self::Sync { ended, .. } => *ended,
            Self::Answer { began, .. } => *began,
        }
    }
}

/// All happenings, by time.
pub(super) struct Trace {
    pub(super) happenings: Vec<Happening>,
    /// For each of them, when a sync that covers it had ended: writes only.
    pub(super) safe_at: Vec<Option<u64>>,
}

impl Trace {
    /// Reads every `prefix*` file of `folder`; only files below `data` count as the disk.
    pub(super) fn read(folder: &Path, prefix: &str, data: &Path) -> Outcome<Self> {
        let mut happenings = Vec::new();
        for entry in fs::read_dir(folder).map_err(|e| e.to_string())? {
            let path: PathBuf = entry.map_err(|e| e.to_string())?.path();
            let is_trace = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix));
            if is_trace {
                let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                happenings.extend(text.lines().filter_map(|line| parse(line, data)));
            }
        }
        happenings.sort_by_key(Happening::time);
        let safe_at = happenings.iter().map(|h| earliest_cover(h, &happenings)).collect();
        Ok(Self { happenings, safe_at })
    }

    /// Every 202 and when it began to leave.
    pub(super) fn answers(&self) -> impl Iterator<Item = (&str, u64)> {
        self.happenings.iter().filter_map(|h| match h {
            Happening::Answer { order, began } => Some((order.as_str(), *began)),
            _ => None,
        })
    }

    pub(super) fn span_of_answers(&self) -> Option<(u64, u64)> {
        let times = || self.answers().map(|(_, at)| at);
        Some((times().min()?, times().max()?))
    }

    /// When each order's message was safe: the end of the first sync that covers a write of it.
    pub(super) fn messages_safe_at(&self) -> HashMap<String, u64> {
        let mut safe = HashMap::new();
        for (happening, at) in self.happenings.iter().zip(&self.safe_at) {
            let (Happening::Write { bytes, .. }, Some(at)) = (happening, at) else { continue };
            for order in orders_in(bytes) {
                let known = safe.entry(order).or_insert(*at);
                *known = (*known).min(*at);
            }
        }
        safe
    }
}

/// When the first sync ended that began after this write had ended; the happenings are sorted by when
/// they ended.
fn earliest_cover(happening: &Happening, all: &[Happening]) -> Option<u64> {
    let Happening::Write { file, ended, .. } = happening else { return None };
    let later = all.partition_point(|h| h.time() < *ended);
    all[later..].iter().find_map(|h| match h {
        Happening::Sync { file: synced, began, ended: done } if synced == file && began >= ended => {
            Some(*done)
        }
        _ => None,
    })
}

/// The ids of the order messages in these bytes.
fn orders_in(bytes: &[u8]) -> Vec<String> {
    const BEFORE: &[u8] = b"\"order\":\"";
    const ID_LEN: usize = 36;
    let starts = bytes.windows(BEFORE.len()).enumerate().filter(|(_, w)| *w == BEFORE);
    starts
        .filter_map(|(at, _)| bytes.get(at + BEFORE.len()..at + BEFORE.len() + ID_LEN))
        .map(|id| String::from_utf8_lossy(id).into_owned())
        .collect()
}

/// One line: `1700000000.123456 pwrite64(7</path>, "\x00…", 4096, 8192) = 4096 <0.000012>`.
fn parse(line: &str, data: &Path) -> Option<Happening> {
    let (time, rest) = line.split_once(' ')?;
    let began = micros(time)?;
    let (call, rest) = rest.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let lasted = result.rsplit_once('<').and_then(|(_, t)| micros(t.trim_end_matches('>'))).unwrap_or(0);
    let ended = began + lasted;
    let path = || {
        let name = plain(arguments.split_once('<')?.1.split_once('>')?.0);
        let inside = Path::new(&name).strip_prefix(data).ok()?.to_string_lossy().into_owned();
        Some(inside)
    };
    let number =
        |from_end: usize| arguments.trim_end_matches(')').rsplit(", ").nth(from_end)?.parse::<usize>().ok();
    match call {
        "pwrite64" => {
            Some(Happening::Write { file: path()?, at: number(0)?, bytes: strings(arguments), ended })
        }
        "ftruncate" => Some(Happening::Truncate { file: path()?, len: number(0)?, ended }),
        "fdatasync" | "fsync" => Some(Happening::Sync { file: path()?, began, ended }),
        "unlink" => {
            let name = String::from_utf8(strings(arguments)).ok()?;
            let inside = Path::new(&name).strip_prefix(data).ok()?.to_string_lossy().into_owned();
            Some(Happening::Unlink { file: inside, ended })
        }
        "write" | "writev" | "sendto" | "sendmsg" => answer(&strings(arguments), began),
        _ => None,
    }
}

/// The order of a 202, if these bytes are one.
fn answer(bytes: &[u8], began: u64) -> Option<Happening> {
    let text = String::from_utf8_lossy(bytes);
    if !text.starts_with("HTTP/1.1 202") {
        return None;
    }
    let order = text.split_once("\"order_id\":\"")?.1.split_once('"')?.0.to_owned();
    Some(Happening::Answer { order, began })
}

fn micros(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + format!("{fraction:0<6}").get(..6)?.parse::<u64>().ok()?)
}

/// The path inside `<…>`: with `-xx` strace writes it in hex too.
fn plain(path: &str) -> String {
    if path.starts_with("\\x") {
        let quoted = format!("\"{path}\"");
        String::from_utf8_lossy(&strings(&quoted)).into_owned()
    } else {
        path.to_owned()
    }
}

/// The bytes of all string literals (`"\x01\x02"`), one after another.
fn strings(arguments: &str) -> Vec<u8> {
    arguments
        .split('"')
        .skip(1)
        .step_by(2)
        .flat_map(|literal| literal.split("\\x").skip(1))
        .filter_map(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_a_sync_and_an_answer_are_read() {
        let data = Path::new("/d");
        let line = r#"5.000001 pwrite64(7</d/q.db-wal>, "\x61\x62", 2, 32) = 2 <0.000010>"#;
        let Some(Happening::Write { file, at, bytes, ended }) = parse(line, data) else { panic!() };
        assert_eq!((file.as_str(), at, bytes.as_slice()), ("q.db-wal", 32, &b"ab"[..]));
        assert_eq!(ended, 5_000_011);
        let line = "5.000020 fdatasync(7</d/q.db-wal>) = 0 <0.000100>";
        assert!(matches!(parse(line, data), Some(Happening::Sync { ended: 5_000_120, .. })));
        assert!(parse("5.0 fdatasync(7</elsewhere>) = 0 <0.1>", data).is_none());
        let text: String =
            "HTTP/1.1 202 x {\"order_id\":\"abc\"}".bytes().map(|b| format!("\\x{b:02x}")).collect();
        let line =
            format!("6.000000 writev(9<socket:[1]>, [{{iov_base=\"{text}\", iov_len=3}}], 1) = 3 <0.1>");
        assert!(matches!(parse(&line, data), Some(Happening::Answer { order, .. }) if order == "abc"));
    }
}
