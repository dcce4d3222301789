//! A server that can be killed, paused and started again on the same data and ports.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::process::{Owned, Signal, leashed};
use crate::run::{Outcome, wait_for};

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recipe {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// All of its environment, but for PATH and the locale.
    pub(crate) environment: Vec<(String, String)>,
    /// The user it runs as, where that is another one.
    pub(crate) user: Option<String>,
}

impl Recipe {
    /// A recipe without arguments.
    pub(crate) fn new(program: &Path) -> Self {
        Self { program: program.to_path_buf(), ..Self::default() }
    }

    /// With these arguments too.
    pub(crate) fn arguments<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(words.into_iter().map(Into::into));
        self
    }

    /// With this variable too.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// As this user.
    pub(crate) fn user(mut self, user: Option<&str>) -> Self {
        self.user = user.map(str::to_owned);
        self
    }

    /// The command it says.
    pub(crate) fn command(&self) -> Outcome<std::process::Command> {
        let mut command = leashed(&self.program, self.user.as_deref())?;
        command.args(&self.arguments).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C.UTF-8");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// Says whether a server answers.
pub(crate) type Answers = Box<dyn Fn() -> bool + Send + Sync>;

/// One server.
pub(crate) struct Server {
    name: String,
    recipe: Recipe,
    log: PathBuf,
    answers: Answers,
    process: Option<Owned>,
}

impl Server {
    /// A server; not started yet.
    pub(crate) fn new(name: &str, recipe: Recipe, log: PathBuf, answers: Answers) -> Self {
        Self { name: name.into(), recipe, log, answers, process: None }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How it is started from now on.
    pub(crate) fn recipe_mut(&mut self) -> &mut Recipe {
        &mut self.recipe
    }

    /// Where it writes what it has to say.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Owned::pid)
    }

    /// Starts it; does not wait for anything.
    pub(crate) fn start(&mut self) -> Outcome {
        let open = || File::options().create(true).append(true).open(&self.log);
        let log = open().map_err(|e| format!("{}: {e}", self.log.display()))?;
        let also = log.try_clone().map_err(|e| e.to_string())?;
        let mut command = self.recipe.command()?;
        command.stdout(log).stderr(also);
        self.process = Some(Owned::start(command)?);
        Ok(())
    }

    /// Waits until it answers; tells how long that took. One that ended by itself will not.
    pub(crate) fn ready(&mut self, limit: Duration) -> Outcome<Duration> {
        let what = format!("{} answering", self.name);
        let mut alive = true;
        let Self { process, answers, .. } = self;
        let waited = wait_for(&what, limit, || {
            alive = process.as_mut().is_some_and(Owned::is_running);
            !alive || answers()
        });
        match waited {
            Ok(waited) if alive => Ok(waited),
            Ok(_) => Err(format!("{} ended by itself:\n{}", self.name, self.last_words())),
            Err(why) => Err(format!("{why}; it says:\n{}", self.last_words())),
        }
    }

    /// Kills it and its descendants, as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Asks it to stop with this signal, and kills it if it has not within the limit.
    pub(crate) fn stop(&mut self, signal: Signal, limit: Duration) -> Outcome<Duration> {
        let Some(mut process) = self.process.take() else { return Ok(Duration::ZERO) };
        process.tell(signal)?;
        process.wait_for_end(limit).map_err(|why| format!("{}: {why}", self.name))
    }

    /// Stops its clock: the process and its descendants get no processor until [`resume`](Self::resume).
    pub(crate) fn pause(&self) -> Outcome {
        self.tell_family(Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> Outcome {
        self.tell_family(Signal::CONT)
    }

    /// Sends a signal to it and its descendants.
    pub(crate) fn tell_family(&self, signal: Signal) -> Outcome {
        let process = self.process.as_ref().ok_or_else(|| format!("{} does not run", self.name))?;
        process.tell_family(signal)
    }

    /// The last lines of its log.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}
