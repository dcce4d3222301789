//! Which of a database's errors are an outage, and which a refusal of the very call: as with the order store.

use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use super::MailboxError;

/// Classes of Postgres' SQLSTATE that mean "this statement, with these values, never". All others, such as a lost
/// connection, a full disk, a time-out or a server that only reads, are no fault of a notice, and must not condemn it.
const POSTGRES_REFUSALS: [&str; 3] = [
    "22", // data exception
    "23", // integrity constraint violation
    "54", // program limit exceeded
];
/// SQLite's primary result codes that mean the same.
const SQLITE_REFUSALS: [i32; 4] = [
    1,  // SQLITE_ERROR
    18, // SQLITE_TOOBIG
    19, // SQLITE_CONSTRAINT
    20, // SQLITE_MISMATCH
];

impl From<sqlx::Error> for MailboxError {
    fn from(error: sqlx::Error) -> Self {
        let is_refused = match &error {
            sqlx::Error::Database(e) => {
                let code = e.code().unwrap_or_default();
                match (e.try_downcast_ref::<SqliteError>(), e.try_downcast_ref::<PgDatabaseError>()) {
                    (Some(_), _) => sqlite_refuses(&code),
                    (_, Some(_)) => postgres_refuses(&code),
                    _ => false,
                }
            }
            sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Encode(_)
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::RowNotFound => true,
            _ => false,
        };
        if is_refused { Self::Refused(error.to_string()) } else { Self::Unavailable(error.to_string()) }
    }
}

fn postgres_refuses(code: &str) -> bool {
    POSTGRES_REFUSALS.iter().any(|class| code.starts_with(class))
}

fn sqlite_refuses(code: &str) -> bool {
    // The extended code keeps the primary one in its low byte.
    SQLITE_REFUSALS.contains(&(code.parse::<i32>().unwrap_or(0) & 0xff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_condemns_no_notice() {
        for code in ["22021", "23514", "54000"] {
            assert!(postgres_refuses(code), "{code}");
        }
        for code in ["08006", "25006", "40P01", "53300", "55P03", "57014", "57P01", "58030", ""] {
            assert!(!postgres_refuses(code), "{code}");
        }
        for code in ["1", "1299", "2067"] {
            assert!(sqlite_refuses(code), "{code}");
        }
        // Busy, locked, read-only, an I/O error, a full disk, a file that cannot be opened.
        for code in ["5", "6", "8", "266", "10", "13", "14", "517", ""] {
            assert!(!sqlite_refuses(code), "{code}");
        }
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "nobody there");
        for away in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, sqlx::Error::Io(io)] {
            assert!(MailboxError::from(away).is_outage());
        }
        assert!(!MailboxError::from(sqlx::Error::ColumnNotFound("subject".into())).is_outage());
    }
}
