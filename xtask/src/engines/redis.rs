//! A private Redis.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::certificate::Certificate;
use crate::ports;
use crate::run::Outcome;
use crate::server::{Recipe, Server};

/// How long a command may take.
const ANSWER_S_MAX: u64 = 10;

/// One server.
pub(crate) struct Redis {
    pub(crate) server: Server,
    pub(crate) port: u16,
    /// Where clients come in: another port, if they are to speak TLS.
    pub(crate) clients_port: u16,
    data: PathBuf,
    program: PathBuf,
}

impl Redis {
    /// A server that appends to a file and syncs it every second; not started yet.
    pub(super) fn new(program: &Path, folder: &Path, shown: Option<&Certificate>) -> Outcome<Self> {
        let mut redis = Self::called("redis", program, folder)?;
        if let Some(shown) = shown {
            redis.clients_port = ports::free()?;
            let port = redis.clients_port.to_string();
            let (certificate, key) =
                (shown.certificate.display().to_string(), shown.key.display().to_string());
            let listener =
                ["--tls-port", &port, "--tls-auth-clients", "no", "--tls-ca-cert-file", &certificate];
            let shows = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
            let arguments = &mut redis.server.recipe_mut().arguments;
            arguments.extend(listener.map(str::to_owned));
            arguments.extend(shows.map(str::to_owned));
        }
        Ok(redis)
    }

    /// The same under this name.
    pub(super) fn called(name: &str, program: &Path, folder: &Path) -> Outcome<Self> {
        let port = ports::free()?;
        let words = [
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--dir",
            &folder.display().to_string(),
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
        ]
        .map(str::to_owned);
        let recipe = Recipe::new(program).arguments(words);
        let answers = Box::new(move || command(port, &["PING"]).is_ok_and(|answer| answer == "+PONG"));
        let server = Server::new(name, recipe, folder.join("log"), answers);
        Ok(Self {
            server,
            port,
            clients_port: port,
            data: folder.to_path_buf(),
            program: program.to_path_buf(),
        })
    }

    /// Follows this primary when it starts for the first time; sentinels rewrite who follows whom.
    pub(super) fn following(mut self, primary: &Self) -> Self {
        let words = ["--replicaof", "127.0.0.1", &primary.port.to_string()].map(str::to_owned);
        self.server.recipe_mut().arguments.extend(words);
        self
    }

    /// Whether it is the one that takes writes.
    pub(crate) fn is_primary(&self) -> bool {
        self.command(&["INFO", "replication"]).is_ok_and(|told| told.contains("role:master"))
    }

    /// Its program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The folder of its data.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Sends it a command; answers the first line of its answer, marker included.
    pub(crate) fn command(&self, words: &[&str]) -> Outcome<String> {
        command(self.port, words)
    }
}

/// One command on a connection of its own.
pub(super) fn command(port: u16, words: &[&str]) -> Outcome<String> {
    let talk = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(ANSWER_S_MAX)))?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(request.as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        // A bulk string follows its length.
        if let Some(length) = line.strip_prefix('$').and_then(|l| l.trim().parse::<usize>().ok()) {
            let mut bulk = vec![0; length];
            reader.read_exact(&mut bulk)?;
            return Ok(String::from_utf8_lossy(&bulk).into_owned());
        }
        Ok(line.trim_end().to_owned())
    };
    let answer = talk().map_err(|e| format!("redis {}: {e}", words.join(" ")))?;
    if answer.starts_with('-') { Err(format!("redis {}: {answer}", words.join(" "))) } else { Ok(answer) }
}
