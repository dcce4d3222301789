//! Child processes that leave nothing behind.
//!
//! Three things hold a child to this program: its owner kills it and all its descendants when it is
//! dropped (also by a panic); an interrupt or terminate signal to this program ends every child that is
//! registered; and where `setpriv` is there, the kernel kills the child when this program is killed itself.

mod family;
mod interrupt;

use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::sync::{OnceLock, PoisonError};
use std::time::Duration;

pub(crate) use interrupt::{Home, watch};
pub(crate) use rustix::process::Signal;

use crate::run::{Outcome, is_there, wait_for};

/// A child process that does not outlive its owner.
pub(crate) struct Owned(Child);

/// What to start, and where to send it.
type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

impl Owned {
    /// Starts it, in a process group of its own: a terminal's Ctrl-C reaches this program only, which then
    /// ends its children.
    pub(crate) fn start(mut command: Command) -> Outcome<Self> {
        use std::os::unix::process::CommandExt;
        command.process_group(0);
        let shown = command.get_program().display().to_string();
        let mut registered = interrupt::registered();
        let child = from_the_nursery(command).map_err(|e| format!("{shown}: {e}"))?;
        registered.insert(child.id());
        Ok(Self(child))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Sends it a signal, and it alone.
    pub(crate) fn tell(&self, signal: Signal) -> Outcome {
        family::tell(self.pid(), signal)
    }

    /// Sends a signal to it and to all its descendants.
    pub(crate) fn tell_family(&self, signal: Signal) -> Outcome {
        family::tell_all(self.pid(), signal)
    }

    /// Waits for its end, as long as that takes.
    pub(crate) fn wait(&mut self) -> Outcome<ExitStatus> {
        self.0.wait().map_err(|e| e.to_string())
    }

    /// Waits for its end for a while.
    pub(crate) fn wait_for_end(&mut self, limit: Duration) -> Outcome<Duration> {
        let what = format!("the end of process {}", self.pid());
        wait_for(&what, limit, || !self.is_running())
    }

    /// What it prints, where its output is a pipe.
    pub(crate) fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.0.stdout.take()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // It may have ended by itself.
        if self.is_running() {
            let _ = family::tell_all(self.pid(), Signal::KILL);
        }
        let _ = self.0.wait();
        interrupt::registered().remove(&self.0.id());
    }
}

/// Runs to the end under this program's care; an exit code other than 0 is an error.
pub(crate) fn to_end(command: Command) -> Outcome {
    let shown = format!("{command:?}");
    let status = Owned::start(command)?.wait()?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}

/// A command for `program` that the kernel kills together with this program; as another user if one is named.
pub(crate) fn leashed(program: &Path, user: Option<&str>) -> Outcome<Command> {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let there = *SETPRIV.get_or_init(|| is_there("setpriv"));
    if !there {
        return match user {
            None => Ok(Command::new(program)),
            Some(user) => Err(format!("running {} as {user} needs setpriv", program.display())),
        };
    }
    let mut command = Command::new("setpriv");
    // After the change of user: the kernel forgets the wish when credentials change.
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    Ok(command)
}

/// Starts a child from a thread that lives as long as this program: the kernel's leash is tied to the
/// thread that started the child, not to the program.
fn from_the_nursery(command: Command) -> std::io::Result<Child> {
    static NURSERY: OnceLock<std::sync::Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let nursery = NURSERY.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        std::sync::Mutex::new(orders)
    });
    let (answer, child) = mpsc::channel();
    let gone = || std::io::Error::other("the thread that starts processes is gone");
    let orders = nursery.lock().unwrap_or_else(PoisonError::into_inner).clone();
    orders.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}
