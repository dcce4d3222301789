//! A proxy between two programs that passes bytes on, until it is told to be the network at its worst.

mod connection;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::ports;
use crate::run::Outcome;

/// Whose bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum From {
    /// The program that connected.
    Client,
    /// The program it wanted to speak to.
    Server,
}

/// What the network does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// Passes everything on.
    Fine,
    /// Breaks every connection, and accepts none.
    Cut,
    /// Passes everything on, so much later.
    Slow(Duration),
    /// Loses what one side says. A connection that lost something is broken when this ends: its bytes would
    /// make no sense any more.
    Swallow(From),
}

/// One way from a port of its own to one of several servers. It goes when its owner goes.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Shared {
    targets: Vec<u16>,
    next: AtomicUsize,
    mood: watch::Sender<Mood>,
    /// Connections with a number below this are dead, and nobody was told.
    forgotten: watch::Sender<u64>,
    opened: AtomicU64,
    swallowed: AtomicU64,
}

impl Proxy {
    /// Listens on a free port for those who want one of `targets`: in turns, leaving out who does not answer.
    pub(crate) fn to(targets: &[u16]) -> Outcome<Self> {
        let port = ports::free()?;
        let shared = Arc::new(Shared {
            targets: targets.to_vec(),
            next: AtomicUsize::new(0),
            mood: watch::Sender::new(Mood::Fine),
            forgotten: watch::Sender::new(0),
            opened: AtomicU64::new(0),
            swallowed: AtomicU64::new(0),
        });
        let listener = runtime()?.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        let listener = listener.map_err(|e| format!("port {port}: {e}"))?;
        let accepting = runtime()?.spawn(accept(listener, shared.clone()));
        Ok(Self { port, shared, accepting })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Changes the network.
    pub(crate) fn be(&self, mood: Mood) {
        self.shared.mood.send_replace(mood);
    }

    /// Kills every connection there is without telling anybody: half-open on both sides. New ones are fine.
    pub(crate) fn forget_connections(&self) -> u64 {
        let opened = self.shared.opened.load(Ordering::Relaxed);
        self.shared.forgotten.send_replace(opened);
        opened
    }

    /// Bytes lost so far by [`Mood::Swallow`].
    pub(crate) fn swallowed(&self) -> u64 {
        self.shared.swallowed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.be(Mood::Cut);
    }
}

/// Where all proxies live, until this program ends.
fn runtime() -> Outcome<&'static Runtime> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().map_err(|e| e.to_string())
    });
    made.as_ref().map_err(Clone::clone)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let number = shared.opened.fetch_add(1, Ordering::Relaxed);
        let shared = shared.clone();
        tokio::spawn(async move {
            if *shared.mood.borrow() == Mood::Cut {
                return;
            }
            // A server that cannot be reached ends the connection, as its own machine would.
            if let Some(server) = shared.reach().await {
                connection::pass(&shared, number, client, server).await;
            }
        });
    }
}

impl Shared {
    /// A connection to the next server that answers.
    async fn reach(&self) -> Option<TcpStream> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for step in 0..self.targets.len() {
            let port = self.targets[(first + step) % self.targets.len()];
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                return Some(stream);
            }
        }
        None
    }
}
