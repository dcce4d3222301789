//! A private RabbitMQ node: name, cookie, port mapper, plugins and data of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::certificate::Certificate;
use super::find::in_path;
use crate::http::{exchange, is_fine_with, json_of};
use crate::ports;
use crate::run::Outcome;
use crate::server::{Recipe, Server};

/// `guest:guest`, which a fresh node lets in from its own machine.
const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";
/// The file of the secret that nodes and tools show each other.
const COOKIE: &str = ".erlang.cookie";
/// How long the port mapper may take to listen.
const MAPPER_S_MAX: Duration = Duration::from_secs(10);

/// One node. The first of a cluster has the port mapper that all of them use.
pub(crate) struct RabbitMq {
    pub(crate) server: Server,
    /// Erlang starts this daemon by itself, and leaves it behind: unless one is there already.
    mapper: Option<Server>,
    mapper_port: u16,
    pub(crate) port: u16,
    /// Where clients come in: another port, if they are to speak TLS.
    pub(crate) clients_port: u16,
    pub(crate) api_port: u16,
    /// The node's Erlang name.
    pub(crate) node: String,
    folder: PathBuf,
    scripts: PathBuf,
}

impl RabbitMq {
    /// A node with these parameters of the `rabbit` application besides (Erlang terms, `{name, value}, …`);
    /// not started yet.
    pub(super) fn new(
        scripts: &Path,
        folder: &Path,
        parameters: &str,
        shown: Option<&Certificate>,
    ) -> Outcome<Self> {
        let mapper_port = ports::free()?;
        let epmd = in_path("epmd").ok_or("epmd, Erlang's port mapper, is not installed")?;
        let recipe = Recipe::new(&epmd).arguments(["-port", &mapper_port.to_string()]);
        let recipe = recipe.variable("ERL_EPMD_ADDRESS", "127.0.0.1");
        let listens = Box::new(move || TcpStream::connect(("127.0.0.1", mapper_port)).is_ok());
        let mapper = Server::new("epmd", recipe, folder.join("epmd.log"), listens);
        write_cookie(folder, &super::draw_hex(16)?)?;
        let (listener, encrypted) = match shown {
            Some(shown) => {
                let port = ports::free()?;
                (encrypted_listener(port, shown), Some(port))
            }
            None => (String::new(), None),
        };
        let node = Self::node("rabbitmq", scripts, folder, (&listener, parameters), mapper_port)?;
        Ok(Self { mapper: Some(mapper), clients_port: encrypted.unwrap_or(node.port), ..node })
    }

    /// Another node of the same cluster, once this one runs.
    pub(super) fn joining(&self, name: &str, folder: &Path, parameters: &str) -> Outcome<Self> {
        let cookie = fs::read_to_string(self.folder.join(COOKIE)).map_err(|e| format!("{COOKIE}: {e}"))?;
        write_cookie(folder, &cookie)?;
        let cluster = format!(
            "cluster_formation.peer_discovery_backend = classic_config\n\
             cluster_formation.classic_config.nodes.1 = {}",
            self.node
        );
        Self::node(name, &self.scripts, folder, (&cluster, parameters), self.mapper_port)
    }

    fn node(
        name: &str,
        scripts: &Path,
        folder: &Path,
        (configuration, parameters): (&str, &str),
        mapper_port: u16,
    ) -> Outcome<Self> {
        let (port, api_port) = (ports::free()?, ports::free()?);
        let node = format!("seckill-{port}@localhost");
        write_configuration(folder, port, api_port, configuration)?;
        write(folder, "advanced.config", &format!("[{{rabbit, [{parameters}]}}].\n"))?;
        let variables = variables(folder, &node, mapper_port)?;
        let mut recipe = Recipe::new(&scripts.join("rabbitmq-server"));
        recipe.environment.clone_from(&variables);
        let answers = Box::new(move || speaks_amqp(port) && is_fine_with(api_port, "/api/overview", GUEST));
        let server = Server::new(name, recipe, folder.join("log"), answers);
        write_ctl(folder, scripts, &variables)?;
        let (folder, scripts) = (folder.to_path_buf(), scripts.to_path_buf());
        let clients_port = port;
        Ok(Self { server, mapper: None, mapper_port, port, clients_port, api_port, node, folder, scripts })
    }

    /// Starts the port mapper, if it is this node's, then the node.
    pub(super) fn start(&mut self) -> Outcome {
        if let Some(mapper) = &mut self.mapper {
            mapper.start()?;
            mapper.ready(MAPPER_S_MAX)?;
        }
        self.server.start()
    }

    /// Where it is found in the clear.
    pub(crate) fn url(&self) -> String {
        url("amqp", &[self.port])
    }

    /// Where its management API is.
    pub(crate) fn api_url(&self) -> String {
        format!("http://guest:guest@127.0.0.1:{}", self.api_port)
    }

    /// `rabbitmqctl` for this node: a script that takes the same words.
    pub(crate) fn ctl(&self) -> PathBuf {
        self.folder.join("rabbitmqctl")
    }

    /// A request to its management API; the body, null where there is none.
    pub(crate) fn api(&self, method: &str, path: &str, body: &str) -> Outcome<Value> {
        let answer = exchange(self.api_port, method, path, GUEST, body)?;
        let status = answer.split_whitespace().nth(1).unwrap_or_default();
        match status.starts_with('2') {
            true if status == "204" || status == "201" => Ok(Value::Null),
            true => json_of(&answer),
            false => Err(format!("{method} {path}: {answer}")),
        }
    }
}

/// Where clients find the nodes of one broker, by their ports.
pub(super) fn url(protocol: &str, ports: &[u16]) -> String {
    let nodes: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("{protocol}://guest:guest@{}/%2f", nodes.join(","))
}

/// Says hello in the protocol, and listens for an answer.
fn speaks_amqp(port: u16) -> bool {
    let talk = || -> std::io::Result<usize> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        stream.read(&mut [0; 8])
    };
    talk().is_ok_and(|read| read > 0)
}

fn write(folder: &Path, name: &str, text: &str) -> Outcome {
    let file = folder.join(name);
    fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))
}

fn write_configuration(folder: &Path, port: u16, api_port: u16, more: &str) -> Outcome {
    let text = format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {api_port}\n\
         log.console = true\nlog.console.level = info\nlog.file = false\n{more}\n"
    );
    write(folder, "rabbitmq.conf", &text)?;
    // Read instead of the machine's own.
    write(folder, "rabbitmq-env.conf", "")?;
    write(folder, "enabled_plugins", "[rabbitmq_management].\n")
}

/// The lines of its configuration for clients that speak TLS, and show no certificate of their own.
fn encrypted_listener(port: u16, shown: &Certificate) -> String {
    let (certificate, key) = (shown.certificate.display(), shown.key.display());
    format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {certificate}\n\
         ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n\
         ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false"
    )
}

/// The secret that nodes and tools show each other.
fn write_cookie(folder: &Path, cookie: &str) -> Outcome {
    let file = folder.join(COOKIE);
    let told = |e: std::io::Error| format!("{}: {e}", file.display());
    fs::write(&file, cookie).map_err(told)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).map_err(told)
}

fn variables(folder: &Path, node: &str, mapper_port: u16) -> Outcome<Vec<(String, String)>> {
    let path = |name: &str| folder.join(name).display().to_string();
    let dist_port = ports::free()?;
    let all = [
        ("HOME", folder.display().to_string()),
        ("ERL_EPMD_PORT", mapper_port.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        ("RABBITMQ_NODENAME", node.to_owned()),
        ("RABBITMQ_DIST_PORT", dist_port.to_string()),
        ("RABBITMQ_CONFIG_FILE", path("rabbitmq")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", path("advanced.config")),
        ("RABBITMQ_CONF_ENV_FILE", path("rabbitmq-env.conf")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", path("generated")),
        ("RABBITMQ_MNESIA_BASE", path("data")),
        ("RABBITMQ_LOG_BASE", path("logs")),
        ("RABBITMQ_PID_FILE", path("pid")),
        // Two nodes on one machine must not be bound to the same processor.
        ("RABBITMQ_SCHEDULER_BIND_TYPE", "u".into()),
        // The script then becomes the virtual machine, and waits for no input: one process to watch.
        ("RUNNING_UNDER_SYSTEMD", "true".into()),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".into()),
    ];
    Ok(all.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

fn write_ctl(folder: &Path, scripts: &Path, variables: &[(String, String)]) -> Outcome {
    let mut text = String::from("#!/bin/sh\n");
    for (name, value) in variables {
        let _ = writeln!(text, "export {name}='{value}'");
    }
    let _ = writeln!(text, "exec '{}' \"$@\"", scripts.join("rabbitmqctl").display());
    let file = folder.join("rabbitmqctl");
    let told = |e: std::io::Error| format!("{}: {e}", file.display());
    fs::write(&file, text).map_err(told)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).map_err(told)
}
