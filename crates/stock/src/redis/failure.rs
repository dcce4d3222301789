//! Why a call failed, and what follows from it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a call brought no answer. All of them fail closed; they differ in what is done about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server is there and has no function library: whatever it held is lost.
    LibraryMissing,
    /// The connection is of no use any more: dial again. A server that was demoted counts, for dialling
    /// asks the sentinels anew.
    Broken(String),
    /// The server answered that it will not, or not now.
    Refused(String),
    /// No answer within the bound.
    TimedOut,
}

/// A refusal that did not come from the server itself.
pub(super) fn refused(why: &str) -> Failure {
    Failure::Refused(why.into())
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let why = error.to_string();
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::Broken(why),
            // LOADING, MASTERDOWN, CLUSTERDOWN, OOM, MISCONF, NOPERM …: the connection is fine.
            ErrorKind::Server(_) | ErrorKind::Extension if why.contains("Function not found") => {
                Self::LibraryMissing
            }
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Refused(why),
            ErrorKind::Io if error.is_timeout() => Self::TimedOut,
            _ if error.is_unrecoverable_error() || error.is_io_error() => Self::Broken(why),
            _ => Self::Refused(why),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LibraryMissing => f.write_str("the function library is missing"),
            Self::Broken(why) | Self::Refused(why) => f.write_str(why),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Failure {
        let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("it parses");
        reply.extract_error().expect_err("it is an error").into()
    }

    #[test]
    fn a_server_without_the_library_has_lost_everything() {
        assert_eq!(said("ERR Function not found"), Failure::LibraryMissing);
    }

    #[test]
    fn a_demoted_primary_is_left_for_another() {
        assert!(matches!(said("READONLY You can't write against a read only replica."), Failure::Broken(_)));
    }

    #[test]
    fn whatever_else_a_server_says_fails_closed_on_a_connection_that_stays() {
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Errors writing to the AOF file: No space left on device",
            "NOREPLICAS Not enough good replicas to write.",
            "BUSY Redis is busy running a script.",
            "CLUSTERDOWN The cluster is down",
            "NOPERM this user has no permissions to run the 'fcall' command",
            "NOSCRIPT No matching script.",
            "ERR user_function:1: a mistake",
        ] {
            assert!(matches!(said(line), Failure::Refused(_)), "{line}");
        }
    }

    #[test]
    fn a_broken_pipe_is_dialled_again() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(matches!(RedisError::from(broken).into(), Failure::Broken(_)));
    }
}
