//! What SQLite's result codes mean.

/// Primary result codes that mean "this statement, with these values, never".
const REFUSALS: [i32; 4] = [
    1,  // SQLITE_ERROR: integer overflow, malformed JSON
    18, // SQLITE_TOOBIG
    19, // SQLITE_CONSTRAINT
    20, // SQLITE_MISMATCH
];

/// Whether the engine refuses this very call; else it cannot do it now.
pub(in crate::order_store) fn refuses(code: &str) -> bool {
    // The extended code keeps the primary one in its low byte.
    REFUSALS.contains(&(code.parse::<i32>().unwrap_or(0) & 0xff))
}
