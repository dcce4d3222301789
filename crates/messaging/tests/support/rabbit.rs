//! Virtual hosts of their own for tests, on a real RabbitMQ, and what its operators can do to it.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use messaging::contract_suite::until;
use messaging::rabbitmq::{Addresses, RabbitBroker, RabbitOptions};
use serde_json::Value;
use tokio::time::timeout;

/// How long a broker may take to be connected: the queues are new, and each holds an election.
const CONNECTED_WITHIN: Duration = Duration::from_secs(60);

static VHOSTS: AtomicU32 = AtomicU32::new(0);

/// The management API.
#[derive(Clone)]
pub(crate) struct Api {
    host: String,
    authorization: String,
}

impl Api {
    fn new(url: &str) -> Self {
        let rest = url.strip_prefix("http://").expect("TEST_RABBITMQ_API is http://user:password@host:port");
        let (user, host) =
            rest.trim_end_matches('/').rsplit_once('@').expect("TEST_RABBITMQ_API names a user");
        let authorization = base64::engine::general_purpose::STANDARD.encode(user);
        Self { host: host.to_owned(), authorization }
    }

    /// Asks, and waits for the answer's status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.host).expect("the management API answers");
        // HTTP/1.0: the body ends with the connection.
        write!(
            stream,
            "{method} /api{path} HTTP/1.0\r\nhost: {}\r\nauthorization: Basic {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            self.authorization,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, "");
        assert_eq!(status, 200, "GET {path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

/// A variable that whoever runs these tests sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: cargo xtask test sets it"))
}

/// A virtual host. It goes, with all that is in it, when this is dropped.
pub(crate) struct Vhost {
    pub(crate) name: String,
    pub(crate) api: Api,
}

impl Vhost {
    pub(crate) fn new() -> Self {
        let api = Api::new(&variable("TEST_RABBITMQ_API"));
        let name = format!("test-{}-{}", std::process::id(), VHOSTS.fetch_add(1, Ordering::SeqCst));
        let vhost = Self { name, api };
        vhost.remove();
        let (status, body) = vhost.api.ask("PUT", &format!("/vhosts/{}", vhost.name), "{}");
        assert!(status < 300, "{status}: {body}");
        vhost
    }

    fn remove(&self) {
        self.api.ask("DELETE", &format!("/vhosts/{}", self.name), "");
    }

    /// The broker's URL with this virtual host; through `proxy` if there is one.
    pub(crate) fn url(&self, proxy: Option<u16>) -> String {
        let url = variable("TEST_AMQP_URL");
        let rest = url.strip_prefix("amqp://").expect("TEST_AMQP_URL is amqp://…");
        let authority = rest.split('/').next().unwrap_or_default();
        match proxy {
            None => format!("amqp://{authority}/{}", self.name),
            Some(port) => {
                let user = authority.rsplit_once('@').map_or("guest:guest", |(user, _)| user);
                format!("amqp://{user}@127.0.0.1:{port}/{}", self.name)
            }
        }
    }

    /// A connected broker on this virtual host.
    pub(crate) async fn open(&self, options: RabbitOptions) -> Arc<RabbitBroker> {
        self.open_at(&self.url(None), options).await
    }

    pub(crate) async fn open_at(&self, url: &str, options: RabbitOptions) -> Arc<RabbitBroker> {
        let broker = RabbitBroker::start(&Addresses::parse(url).unwrap(), options);
        let connected = timeout(CONNECTED_WITHIN, broker.connected()).await;
        connected.unwrap_or_else(|_| panic!("not connected: {:?}", broker.readiness()));
        broker
    }

    /// Closes every connection to this virtual host, `at_least` so many.
    pub(crate) async fn close_connections(&self, at_least: usize) {
        let mut closed = 0;
        until("the connections are closed", || {
            for connection in self.connections() {
                let (status, _) = self.api.ask("DELETE", &format!("/connections/{connection}"), "");
                closed += usize::from(status < 300);
            }
            std::future::ready((closed >= at_least).then_some(()))
        })
        .await;
    }

    /// The names of the connections, as a path holds them.
    fn connections(&self) -> Vec<String> {
        let all = self.api.get(&format!("/vhosts/{}/connections", self.name));
        let names = all.as_array().unwrap().iter().filter_map(|c| c["name"].as_str());
        names.map(|name| name.replace(' ', "%20").replace(':', "%3A").replace('>', "%3E")).collect()
    }

    /// Takes away every binding whose queue matches.
    pub(crate) fn unbind(&self, matches: impl Fn(&str) -> bool) {
        let bindings = self.api.get(&format!("/bindings/{}", self.name));
        for binding in bindings.as_array().unwrap() {
            let text = |key: &str| binding[key].as_str().unwrap().to_owned();
            if text("source").is_empty() || !matches(&text("destination")) {
                continue;
            }
            let (source, queue, key) = (text("source"), text("destination"), text("properties_key"));
            let key = key.replace('%', "%25").replace('#', "%23");
            let path = format!("/bindings/{}/e/{source}/q/{queue}/{key}", self.name);
            let (status, body) = self.api.ask("DELETE", &path, "");
            assert!(status < 300, "{path}: {status} {body}");
        }
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        self.remove();
    }
}
