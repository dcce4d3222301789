//! A private Postgres.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Durability;
use super::certificate::Certificate;
use crate::ports;
use crate::process::leashed;
use crate::run::Outcome;
use crate::server::{Recipe, Server};

/// Whom the server runs as where we are root, which it refuses to be.
const USER: &str = "postgres";
/// Connections at most: every service's pool, and the tests' own databases.
const CONNECTIONS_MAX: u32 = 300;

/// One server.
pub(crate) struct Postgres {
    pub(crate) server: Server,
    pub(crate) port: u16,
    programs: PathBuf,
    folder: PathBuf,
    password: String,
    user: Option<&'static str>,
    /// The key of the certificate it shows. It reads no other user's.
    key: Option<PathBuf>,
}

impl Postgres {
    /// A server; neither made nor started yet.
    pub(super) fn new(
        programs: &Path,
        folder: &Path,
        durability: Durability,
        shown: Option<&Certificate>,
    ) -> Outcome<Self> {
        let port = ports::free()?;
        let user = rustix::process::geteuid().is_root().then_some(USER);
        let mut settings = vec![
            format!("port={port}"),
            "listen_addresses=127.0.0.1".into(),
            "unix_socket_directories=".into(),
            format!("max_connections={CONNECTIONS_MAX}"),
            "shared_buffers=256MB".into(),
            // A checkpoint in the middle of a short measurement would be measured too.
            "max_wal_size=4GB".into(),
            "log_checkpoints=off".into(),
        ];
        if durability == Durability::Relaxed {
            settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
        }
        if let Some(shown) = shown {
            let (certificate, key) = (shown.certificate.display(), shown.key.display());
            settings.extend([
                "ssl=on".into(),
                format!("ssl_cert_file={certificate}"),
                format!("ssl_key_file={key}"),
            ]);
        }
        let data = folder.join("data");
        let recipe = Recipe::new(&programs.join("postgres"))
            .arguments(["-D", &data.display().to_string()])
            .arguments(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]))
            .user(user);
        let server = Server::new("postgres", recipe, folder.join("log"), Box::new(move || accepts(port)));
        Ok(Self {
            server,
            port,
            programs: programs.to_path_buf(),
            folder: folder.to_path_buf(),
            password: super::draw_hex(16)?,
            user,
            key: shown.map(|shown| shown.key.clone()),
        })
    }

    /// Makes its folder.
    pub(super) fn make(&self) -> Outcome {
        let words = self.folder.join("password");
        let told = |e: std::io::Error| format!("{}: {e}", self.folder.display());
        fs::write(&words, &self.password).map_err(told)?;
        fs::set_permissions(&words, fs::Permissions::from_mode(0o600)).map_err(told)?;
        if let Some(user) = self.user {
            let (owner, group) = (id_of(user, "-u")?, id_of(user, "-g")?);
            chown(&words, Some(owner), Some(group)).map_err(told)?;
            chown(&self.folder, Some(owner), Some(group)).map_err(told)?;
            if let Some(key) = &self.key {
                chown(key, Some(owner), Some(group)).map_err(told)?;
            }
        }
        let mut initdb = leashed(&self.programs.join("initdb"), self.user)?;
        initdb.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
        // The servers' own syncs matter, not those of an empty folder.
        initdb.args(["--no-sync", "--pwfile"]).arg(&words).arg("-D").arg(self.folder.join("data"));
        let output = initdb.current_dir(&self.folder).stdin(Stdio::null()).output();
        let output = output.map_err(|e| format!("initdb: {e}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("initdb: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }

    /// Where clients find this database on it.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_by(self.port, database)
    }

    /// The same by way of another port of this machine.
    pub(crate) fn url_by(&self, port: u16, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{port}/{database}", self.password)
    }

    /// Runs a statement through `psql`; answers its rows, unadorned.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> Outcome<String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]);
        let output = psql.arg(self.url(database)).output().map_err(|e| format!("psql: {e}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(format!("psql: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Whether it takes sessions: a start-up packet is answered by a request for a password, not by a refusal.
fn accepts(port: u16) -> bool {
    let talk = || -> std::io::Result<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let parameters = format!("user\0{USER}\0database\0postgres\0\0");
        let length = u32::try_from(parameters.len() + 8).unwrap_or(u32::MAX);
        // Protocol 3.0.
        let packet = [&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), parameters.as_bytes()].concat();
        stream.write_all(&packet)?;
        let mut first = [0];
        stream.read_exact(&mut first)?;
        Ok(first[0])
    };
    talk().is_ok_and(|first| first == b'R')
}

fn id_of(user: &str, which: &str) -> Outcome<u32> {
    let output = Command::new("id").args([which, user]).output().map_err(|e| format!("id: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| format!("there is no user {user}"))
}
