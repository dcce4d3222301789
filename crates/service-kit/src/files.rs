//! How many files this process may have open: every connection is one.

/// Takes as many as the system grants. What a process begins with, often 1,024, is meant for programs that ask `select`.
pub(crate) fn raise() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let granted = getrlimit(Resource::Nofile);
        let all = Rlimit { current: granted.maximum, ..granted };
        // Nothing is logged yet when this is done. Listeners tell if what there is does not do.
        let _ = setrlimit(Resource::Nofile, all);
    }
}

/// How many it may have open; `None` if nobody says.
pub(crate) fn allowed() -> Option<u64> {
    #[cfg(target_os = "linux")]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    #[test]
    fn a_process_takes_what_it_is_granted() {
        let granted = getrlimit(Resource::Nofile);
        // Enough for the tests beside this one.
        let low = granted.maximum.map(|most| most.min(1_024));
        setrlimit(Resource::Nofile, Rlimit { current: low, ..granted }).unwrap();
        assert_eq!(allowed(), low);
        raise();
        assert_eq!(allowed(), granted.maximum);
    }
}
