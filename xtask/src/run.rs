//! Running programs, and the one error of this tool: a sentence.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What went wrong, for a person.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// `cargo` with these arguments, in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs to the end; an exit code other than 0 is an error.
pub(crate) fn to_end(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}");
    let status = command.status().map_err(|e| format!("cannot run {shown}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}

/// Whether a program can be found and says its version.
pub(crate) fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The packages with programs that are tried and measured. Always built together: features that they
/// share are then decided once.
const PROGRAMS: [&str; 6] = ["seckill", "gateway", "inventory", "order", "notify", "loadtest"];

/// `cargo build` of all of them, unoptimised.
pub(crate) fn build_programs() -> Command {
    let mut command = cargo(&["build", "--quiet", "--bins"]);
    command.args(PROGRAMS.iter().flat_map(|package| ["-p", package]));
    command
}

/// Builds the release binaries, once, and answers their folder; with `XTASK_BINARIES` set, that folder is
/// taken as it is, so that a trial can be of the very binaries that will be shipped.
pub(crate) fn release() -> Outcome<PathBuf> {
    static BUILT: OnceLock<Outcome<PathBuf>> = OnceLock::new();
    let build = || {
        if let Some(folder) = std::env::var_os("XTASK_BINARIES") {
            return Ok(PathBuf::from(folder));
        }
        to_end(build_programs().arg("--release"))?;
        Ok(target().join("release"))
    };
    BUILT.get_or_init(build).clone()
}

/// The same for the examples of these packages: answers the folder `examples` in that one.
pub(crate) fn release_examples(packages: &[&str]) -> Outcome<PathBuf> {
    let folder = release()?;
    if std::env::var_os("XTASK_BINARIES").is_none() {
        let packages = packages.iter().flat_map(|package| ["-p", package]);
        to_end(cargo(&["build", "--release", "--quiet", "--examples"]).args(packages))?;
    }
    Ok(folder.join("examples"))
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Waits until `ready` says so, or fails with `what`.
pub(crate) fn wait_for(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Outcome<Duration> {
    let began = Instant::now();
    while began.elapsed() < limit {
        if ready() {
            return Ok(began.elapsed());
        }
        pause(Duration::from_millis(10));
    }
    Err(format!("{what}: not within {limit:?}"))
}

/// Lets time pass between two looks at another process.
#[expect(clippy::disallowed_methods, reason = "another process is watched from a plain thread here")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
