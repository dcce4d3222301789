//! Installs engines from the distribution, without letting them start as services.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::find::in_path;
use crate::run::{Outcome, to_end};

/// Asked by Debian's packages before they start a service; 101 says no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs these packages as root on Debian; elsewhere says what to do.
pub(super) fn packages(names: &[&str]) -> Outcome {
    if in_path("apt-get").is_none() || !rustix::process::geteuid().is_root() {
        return Err(format!(
            "please install {} (their services need not run: private ones are started on free ports)",
            names.join(", ")
        ));
    }
    println!("== installing {}", names.join(", "));
    let _no_services = NoServices::begin()?;
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-y", "-qq", "--no-install-recommends"], names].concat())
}

fn apt(words: &[&str]) -> Outcome {
    to_end(Command::new("apt-get").args(words).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// While it lives, packages start no services. A policy that is there already is left as it is.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn begin() -> Outcome<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        let told = |e: std::io::Error| format!("{POLICY}: {e}");
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").map_err(told)?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).map_err(told)?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}
