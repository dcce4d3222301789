//! Threads that work through a crowd, and let everybody else go first.
//!
//! To the scheduler of Linux they are batch work with a long time slice. A batch thread that wakes up interrupts nobody:
//! whoever feeds it goes on, and it finds more to do at once. And whoever wakes up with a shorter slice interrupts it
//! (since 6.12; before that a slice of one's own has no effect), instead of waiting until its slice is over. While nobody
//! else is ready, such a thread runs as any other.
#![expect(unsafe_code, reason = "no safe library sets a time slice")]

use std::io;
use std::mem::{size_of, zeroed};
use std::time::Duration;

use libc::{SYS_sched_getattr, SYS_sched_setattr, sched_attr, syscall};

/// What the kernel is asked about and told, in bytes.
const SIZE: usize = size_of::<sched_attr>();
/// The calling thread, and no flags.
const THIS: libc::pid_t = 0;
const NO_FLAGS: libc::c_uint = 0;

/// Makes the calling thread one of them, with this slice, of which the kernel takes 0.1 to 100 ms, and at least this nice.
///
/// # Errors
/// When the kernel does not allow it.
pub(super) fn work_in_batches(nice: i32, slice: Duration) -> io::Result<()> {
    let mut attributes = attributes()?;
    attributes.sched_policy = libc::SCHED_BATCH.cast_unsigned();
    attributes.sched_priority = 0;
    // To become less nice takes rights.
    attributes.sched_nice = attributes.sched_nice.max(nice);
    attributes.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the kernel reads as many bytes as the value says it has, and the value outlives the call.
    let done = unsafe { syscall(SYS_sched_setattr, THIS, &raw const attributes, NO_FLAGS) };
    outcome(done)
}

fn attributes() -> io::Result<sched_attr> {
    // SAFETY: it is made of integers only.
    let mut attributes: sched_attr = unsafe { zeroed() };
    // SAFETY: the kernel writes `SIZE` bytes at most, which is what there is.
    let done = unsafe { syscall(SYS_sched_getattr, THIS, &raw mut attributes, SIZE, NO_FLAGS) };
    outcome(done).map(|()| attributes)
}

fn outcome(done: libc::c_long) -> io::Result<()> {
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_works_in_batches_and_no_other_does() {
        let told = || attributes().map(|a| (a.sched_policy, a.sched_nice, a.sched_runtime)).unwrap();
        let before = told();
        let (nicer, slice) = ((before.1 + 3).min(19), Duration::from_millis(7));
        let (policy, nice, nanos) = std::thread::spawn(move || {
            work_in_batches(nicer, slice).unwrap();
            told()
        })
        .join()
        .unwrap();
        assert_eq!((policy.cast_signed(), nice), (libc::SCHED_BATCH, nicer));
        // Older kernels tell of no slice.
        assert!([0, u64::try_from(slice.as_nanos()).unwrap()].contains(&nanos), "{nanos}");
        assert_eq!(told(), before);
    }
}
