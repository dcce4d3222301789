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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener as Listener, TcpStream as Stream};

    use super::*;
    use crate::run::wait_for;

    /// How long what must come may take, and for how long nothing is waited for.
    const ANSWER_S_MAX: Duration = Duration::from_secs(10);
    const SILENCE: Duration = Duration::from_millis(200);

    /// A server that echoes, for as long as this test program runs.
    fn echo() -> u16 {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(n @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..n]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        port
    }

    fn connect(proxy: &Proxy) -> Stream {
        let stream = Stream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.set_read_timeout(Some(ANSWER_S_MAX)).unwrap();
        stream
    }

    /// Whether nothing comes back for a word, and the connection stays.
    fn stays_silent(stream: &mut Stream, word: &[u8]) -> bool {
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        let told = say(stream, word);
        stream.set_read_timeout(Some(ANSWER_S_MAX)).unwrap();
        told == Err("silence")
    }

    /// What comes back for a word; nothing within the time-out, or the end, are told apart.
    fn say(stream: &mut Stream, word: &[u8]) -> Result<Vec<u8>, &'static str> {
        stream.write_all(word).map_err(|_| "broken")?;
        let mut answer = vec![0; word.len()];
        match stream.read(&mut answer) {
            Ok(0) => Err("ended"),
            Ok(n) => Ok(answer[..n].to_vec()),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Err("silence"),
            Err(_) => Err("broken"),
        }
    }

    #[test]
    fn it_passes_on_and_finds_the_server_that_answers() {
        let nobody = ports::free().unwrap();
        let proxy = Proxy::to(&[nobody, echo()]).unwrap();
        for _ in 0..4 {
            assert_eq!(say(&mut connect(&proxy), b"hello").unwrap(), b"hello");
        }
    }

    #[test]
    fn what_is_swallowed_is_lost_and_its_connection_ends_afterwards() {
        let proxy = Proxy::to(&[echo()]).unwrap();
        let mut stream = connect(&proxy);
        assert_eq!(say(&mut stream, b"one").unwrap(), b"one");
        proxy.be(Mood::Swallow(From::Server));
        assert!(stays_silent(&mut stream, b"two"));
        wait_for("the loss", ANSWER_S_MAX, || proxy.swallowed() == 3).unwrap();
        proxy.be(Mood::Fine);
        assert!(matches!(say(&mut stream, b"three"), Err("ended" | "broken")));
        assert_eq!(say(&mut connect(&proxy), b"four").unwrap(), b"four");
    }

    #[test]
    fn a_cut_ends_what_there_is_and_lets_nobody_in() {
        let proxy = Proxy::to(&[echo()]).unwrap();
        let mut stream = connect(&proxy);
        assert!(say(&mut stream, b"one").is_ok());
        proxy.be(Mood::Cut);
        wait_for("the end", ANSWER_S_MAX, || say(&mut stream, b"x").is_err_and(|e| e != "silence")).unwrap();
        assert!(say(&mut connect(&proxy), b"two").is_err());
        proxy.be(Mood::Fine);
        assert_eq!(say(&mut connect(&proxy), b"three").unwrap(), b"three");
    }

    #[test]
    fn a_forgotten_connection_stays_silent_while_new_ones_work() {
        let proxy = Proxy::to(&[echo()]).unwrap();
        let mut stream = connect(&proxy);
        assert!(say(&mut stream, b"one").is_ok());
        assert_eq!(proxy.forget_connections(), 1);
        assert!(stays_silent(&mut stream, b"two"));
        assert_eq!(say(&mut connect(&proxy), b"three").unwrap(), b"three");
        assert!(stays_silent(&mut stream, b"four"));
    }

    #[test]
    fn slow_is_late_and_whole() {
        let proxy = Proxy::to(&[echo()]).unwrap();
        let mut stream = connect(&proxy);
        assert!(say(&mut stream, b"one").is_ok());
        proxy.be(Mood::Slow(Duration::from_millis(30)));
        let began = std::time::Instant::now();
        assert_eq!(say(&mut stream, b"two").unwrap(), b"two");
        assert!(began.elapsed() >= Duration::from_millis(60), "both ways were slow");
    }
}
