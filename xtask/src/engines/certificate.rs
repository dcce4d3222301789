//! A certificate for engines on this machine, signed by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::run::Outcome;

/// Its files. Whoever trusts the certificate trusts the engines.
pub(crate) struct Certificate {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// Its key, for its owner only.
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Draws a key, and writes both into this folder.
    pub(super) fn draw(folder: &Path) -> Outcome<Self> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])
                .map_err(|e| format!("a certificate: {e}"))?;
        let written = |name: &str, text: String, mode: u32| {
            let file = folder.join(name);
            let told = |e: std::io::Error| format!("{}: {e}", file.display());
            fs::write(&file, text).map_err(told)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).map_err(told)?;
            Ok::<_, String>(file)
        };
        Ok(Self {
            certificate: written("certificate.pem", cert.pem(), 0o644)?,
            key: written("key.pem", signing_key.serialize_pem(), 0o600)?,
        })
    }
}
