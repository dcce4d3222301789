//! The secrets of a demo on this machine, so that its crowd needs no arguments.

use std::fs;
use std::path::{Path, PathBuf};

/// Where a demo keeps its secrets, in its data folder.
const FILE: &str = "demo-secrets.env";
/// The data folder's setting, and what it is by default.
const DATA_DIR: (&str, &str) = ("SECKILL_DATA_DIR", "./data");

/// What a demo drew for itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DemoSecrets {
    /// The operators' token.
    pub(crate) admin_token: String,
    /// What buyers' tokens are checked with.
    pub(crate) jwt_secret: String,
}

impl DemoSecrets {
    /// Those of the demo that was started in the same folder, or whose `SECKILL_DATA_DIR` is set here too; none
    /// where there is no demo.
    pub(crate) fn find() -> Option<Self> {
        let (name, default) = DATA_DIR;
        let data = std::env::var_os(name).unwrap_or_else(|| default.into());
        Self::read(&PathBuf::from(data).join(FILE))
    }

    fn read(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let kept = |name| {
            let mut settings = text.lines().filter_map(|line| line.split_once('='));
            settings.find(|(n, _)| *n == name).map(|(_, secret)| secret.to_owned())
        };
        Some(Self { admin_token: kept("SECKILL_ADMIN_TOKEN")?, jwt_secret: kept("SECKILL_JWT_SECRET")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demos_secrets_are_found_where_it_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        assert_eq!(DemoSecrets::read(&file), None);
        fs::write(&file, "SECKILL_JWT_SECRET=a=b\nSECKILL_TICKET_KEYS=k1:00\n").unwrap();
        assert_eq!(DemoSecrets::read(&file), None, "not all of them");
        fs::write(&file, "SECKILL_JWT_SECRET=a=b\nSECKILL_TICKET_KEYS=k1:00\nSECKILL_ADMIN_TOKEN=c\n")
            .unwrap();
        let found = DemoSecrets { admin_token: "c".into(), jwt_secret: "a=b".into() };
        assert_eq!(DemoSecrets::read(&file), Some(found));
    }
}
