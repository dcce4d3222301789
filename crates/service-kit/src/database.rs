//! What a database's errors mean: an outage, which may be over in a moment, or a refusal of the very call.

use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

/// Classes of Postgres' SQLSTATE that mean "this statement, with these values, never". All others, such as a lost
/// connection, a full disk, a time-out, a server that only reads or a missing table, are no fault of what was to be
/// written, and must not condemn it.
const POSTGRES_REFUSALS: [&str; 3] = [
    "22", // data exception
    "23", // integrity constraint violation
    "54", // program limit exceeded
];
/// SQLite's primary result codes that mean the same.
const SQLITE_REFUSALS: [i32; 4] = [
    1,  // SQLITE_ERROR: integer overflow, malformed JSON
    18, // SQLITE_TOOBIG
    19, // SQLITE_CONSTRAINT
    20, // SQLITE_MISMATCH
];

/// Whether the database refuses this very call, or answers it with what cannot be read; else it cannot do it now.
#[must_use]
pub fn refuses(error: &sqlx::Error) -> bool {
    match error {
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
    fn only_what_the_call_itself_causes_is_refused() {
        for code in ["22003", "22021", "23505", "23514", "54000"] {
            assert!(postgres_refuses(code), "{code}");
        }
        let outages = [
            "08006", "25006", "28P01", "40001", "40P01", "42P01", "53300", "55000", "55P03", "57014",
            "57P01", "58030", "XX000", "",
        ];
        for code in outages {
            assert!(!postgres_refuses(code), "{code}");
        }
        for code in ["1", "1299", "2067"] {
            assert!(sqlite_refuses(code), "{code}");
        }
        // Busy, locked, read-only, an I/O error, a full disk, a file that cannot be opened.
        for code in ["5", "6", "8", "266", "10", "13", "14", "517", ""] {
            assert!(!sqlite_refuses(code), "{code}");
        }
    }

    #[test]
    fn a_database_without_an_answer_is_away_and_one_with_a_strange_answer_is_not() {
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "nobody there");
        for away in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, sqlx::Error::Io(io)] {
            assert!(!refuses(&away), "{away:?}");
        }
        assert!(refuses(&sqlx::Error::ColumnNotFound("title".into())));
    }
}
