//! How long a thread may run before the scheduler asks whether another one should.
//!
//! Linux picks, among the threads that have had less than their share, the one whose slice would end first, and
//! interrupts the running one at once for one that wakes up with a shorter slice (since 6.12; what came before lets
//! threads have a slice and does not look at it). So a long slice gives no more time. It makes a thread wait behind all
//! others that are ready.
#![expect(unsafe_code, reason = "no safe library sets it")]

use std::io;
use std::mem::{size_of, zeroed};
use std::time::Duration;

use libc::{SYS_sched_getattr, SYS_sched_setattr, sched_attr, syscall};

/// What it is asked about, and its size as the kernel wants it.
const SIZE: usize = size_of::<sched_attr>();
/// The calling thread, and no flags.
const THIS: libc::pid_t = 0;
const NO_FLAGS: libc::c_uint = 0;

/// Gives the calling thread this slice; the kernel takes 0.1 to 100 ms. Its policy and its nice value stay.
///
/// # Errors
/// When the kernel does not allow it.
pub(super) fn set(slice: Duration) -> io::Result<()> {
    let mut attributes = attributes()?;
    attributes.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the kernel reads `size` bytes of a value that outlives the call.
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

/// The calling thread's slice; none where the kernel does not tell.
#[cfg(test)]
pub(super) fn get() -> Option<Duration> {
    let nanos = attributes().unwrap().sched_runtime;
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}
