//! Which database a URL names. Who opens one has an adapter for each.

use std::path::Path;

/// What `SECKILL_DATABASE_URL` names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatabaseUrl<'a> {
    /// `sqlite:PATH`: a file.
    Sqlite(&'a Path),
    /// `postgres://…`, also written `postgresql://…`: a server, and the whole URL.
    Postgres(&'a str),
}

/// A URL whose scheme is none of these. Only the scheme is kept: what follows it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("no adapter has the scheme {0:?} (expected sqlite:PATH or postgres://…)")]
pub struct UnknownScheme(String);

impl<'a> DatabaseUrl<'a> {
    /// Reads the scheme.
    ///
    /// # Errors
    /// When no database has it.
    pub fn of(url: &'a str) -> Result<Self, UnknownScheme> {
        match url.split_once(':') {
            Some(("sqlite", path)) => Ok(Self::Sqlite(Path::new(path))),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(url)),
            other => Err(UnknownScheme(other.map_or("", |(scheme, _)| scheme).to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_tells_and_an_unknown_one_is_named_without_what_follows() {
        let sqlite = DatabaseUrl::of("sqlite:/data/ledger.db").unwrap();
        assert_eq!(sqlite, DatabaseUrl::Sqlite(Path::new("/data/ledger.db")));
        for url in ["postgres://u:p@h/d", "postgresql://u:p@h/d"] {
            assert_eq!(DatabaseUrl::of(url).unwrap(), DatabaseUrl::Postgres(url));
        }
        for (url, scheme) in [("mysql://u:hidden@h/d", "\"mysql\""), ("hidden", "\"\"")] {
            let told = DatabaseUrl::of(url).unwrap_err().to_string();
            assert!(told.contains(scheme) && !told.contains("hidden"), "{told}");
        }
    }
}
