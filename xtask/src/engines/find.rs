//! Finds the engines' programs; what is missing is installed once. `XTASK_REDIS`, `XTASK_RABBITMQ` and
//! `XTASK_POSTGRES` name others, to try other versions.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::install;
use crate::run::Outcome;

/// Where the programs are.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    /// `redis-server` or `valkey-server`.
    pub(super) redis: PathBuf,
    /// The folder of `rabbitmq-server`'s scripts: not those in PATH that change the user.
    pub(super) rabbitmq: PathBuf,
    /// The folder of `postgres` and `initdb`.
    pub(super) postgres: PathBuf,
}

/// Finds them all, or installs what is missing and looks again.
pub(super) fn binaries() -> Outcome<Binaries> {
    let missing = missing();
    if !missing.is_empty() {
        install::packages(&missing)?;
    }
    let there = |found: Option<PathBuf>, what: &str| found.ok_or_else(|| format!("{what} is not installed"));
    Ok(Binaries {
        redis: there(redis(), "redis-server")?,
        rabbitmq: there(rabbitmq(), "rabbitmq-server")?,
        postgres: there(postgres(), "postgres")?,
    })
}

/// Debian's packages of what is missing.
fn missing() -> Vec<&'static str> {
    let mut packages = Vec::new();
    if redis().is_none() {
        packages.push("redis-server");
    }
    if rabbitmq().is_none() {
        packages.push("rabbitmq-server");
    }
    if postgres().is_none() {
        packages.push("postgresql");
    }
    packages
}

fn redis() -> Option<PathBuf> {
    chosen("XTASK_REDIS").or_else(|| in_path("redis-server")).or_else(|| in_path("valkey-server"))
}

fn rabbitmq() -> Option<PathBuf> {
    if let Some(chosen) = chosen("XTASK_RABBITMQ") {
        return Some(chosen);
    }
    let packaged = PathBuf::from("/usr/lib/rabbitmq/bin");
    if packaged.join("rabbitmq-server").is_file() {
        return Some(packaged);
    }
    // A server unpacked from the project's own archive, by its real place.
    let script = in_path("rabbitmq-server")?.canonicalize().ok()?;
    Some(script.parent()?.to_path_buf())
}

/// The newest that is installed.
fn postgres() -> Option<PathBuf> {
    if let Some(chosen) = chosen("XTASK_POSTGRES") {
        return Some(chosen);
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let folder = entry.path().join("bin");
            folder.join("initdb").is_file().then_some((version, folder))
        })
        .max();
    match newest {
        Some((_, folder)) => Some(folder),
        None => Some(in_path("initdb")?.canonicalize().ok()?.parent()?.to_path_buf()),
    }
}

/// The program, or the folder of programs, that this variable names.
fn chosen(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

/// The first file of this name in PATH, or where system programs lie.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(OsStr::new(name)))
        .find(|file: &PathBuf| Path::is_file(file))
}
