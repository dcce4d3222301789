//! A private platform: the release binary on free ports, with a data folder of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::http::is_fine;
use crate::ports;
use crate::process::Owned;
use crate::run::{Outcome, wait_for};
use crate::subject::{Subject, common_settings};

/// A platform that was started here, and stops with its owner.
pub(crate) struct Platform {
    binary: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    pub(crate) admin_port: u16,
    settings: Vec<(String, String)>,
    wrapper: Vec<String>,
    process: Option<Owned>,
}

impl Platform {
    /// A platform of `binary` on this data folder; not started yet.
    pub(crate) fn new(binary: &Path, data: &Path) -> Outcome<Self> {
        let (port, admin_port) = (ports::free()?, ports::free()?);
        Ok(Self {
            binary: binary.to_path_buf(),
            data: data.to_path_buf(),
            port,
            admin_port,
            settings: Vec::new(),
            wrapper: Vec::new(),
            process: None,
        })
    }

    /// Started by this program (`strace …`) instead of directly.
    pub(crate) fn under(mut self, wrapper: Vec<String>) -> Self {
        self.wrapper = wrapper;
        self
    }

    fn environment(&self) -> Vec<(String, String)> {
        let own = |name: &str, value: String| (name.to_owned(), value);
        let mut all = common_settings();
        all.extend([
            own("SECKILL_LISTEN", format!("127.0.0.1:{}", self.port)),
            own("SECKILL_ADMIN_LISTEN", format!("127.0.0.1:{}", self.admin_port)),
            own("SECKILL_STOCK_URL", "memory:".into()),
            own("SECKILL_QUEUE_URL", "embedded:".into()),
            own("SECKILL_DATABASE_URL", format!("sqlite:{}", self.data.join("seckill.db").display())),
            own("SECKILL_DATA_DIR", self.data.display().to_string()),
        ]);
        all.extend(self.settings.iter().cloned());
        all
    }

    /// The process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Owned::pid)
    }

    /// Peak resident memory so far, in MB, as the kernel counts it.
    pub(crate) fn peak_mb(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
        let kb: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kb / 1024.0)
    }

    /// Processor seconds spent so far.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()?)).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        // The kernel's unit for user space is fixed at a hundredth of a second.
        Some(ticks / 100.0)
    }
}

impl Subject for Platform {
    fn port(&self) -> u16 {
        self.port
    }

    fn admin_port(&self) -> u16 {
        self.admin_port
    }

    fn buyers_ports(&self) -> Vec<u16> {
        vec![self.port]
    }

    fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.into(), value.into()));
    }

    fn start(&mut self) -> Outcome {
        fs::create_dir_all(&self.data).map_err(|e| format!("{}: {e}", self.data.display()))?;
        let log = self.data.join("log");
        let log = File::options().create(true).append(true).open(&log).map_err(|e| e.to_string())?;
        let mut words = self.wrapper.iter().map(String::as_str);
        let mut command = match words.next() {
            Some(program) => {
                let mut command = Command::new(program);
                command.args(words).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command.arg("run").env_clear().stdout(Stdio::null()).stderr(log);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        self.process = Some(Owned::start(command)?);
        Ok(())
    }

    fn ready(&mut self) -> Outcome<Duration> {
        wait_for("the platform becoming ready", Duration::from_secs(60), || {
            is_fine(self.admin_port, "/readyz")
        })
    }

    fn kill(&mut self) {
        self.process = None;
    }
}
