//! Connecting to a node, within a bound.
//!
//! The client never gives an attempt up by itself: a node, or a balancer before it, that accepts the connection and then
//! says nothing would keep a thread and a socket of each attempt. So the socket is opened here, and shut down when its
//! time is over. Then the client gives up as well.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

/// What became of an attempt's socket.
enum Attempt {
    /// It is not open yet.
    Dialling,
    /// It is open: a second handle on it.
    Open(std::net::TcpStream),
    /// Nobody waits any more.
    Over,
}

impl Attempt {
    /// The socket is open; false if nobody waits for it any more.
    fn opened(&mut self, socket: std::net::TcpStream) -> bool {
        let waited_for = matches!(self, Self::Dialling);
        if waited_for {
            *self = Self::Open(socket);
        }
        waited_for
    }

    /// Gives it up.
    fn end(&mut self) {
        if let Self::Open(socket) = std::mem::replace(self, Self::Over) {
            // If this fails it is shut already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Connects to one node under this name, within `bound`; why not, otherwise.
pub(super) async fn connect(uri: AMQPUri, name: &str, bound: Duration) -> Result<Connection, String> {
    let deadline = Instant::now() + bound;
    let attempt = Arc::new(Mutex::new(Attempt::Dialling));
    let properties = ConnectionProperties::default()
        .with_connection_name(name.into())
        // Whoever asks tries again, on the next node.
        .configure_backoff(|backoff| backoff.with_max_times(0));
    let runtime = lapin::runtime::default_runtime().map_err(|e| e.to_string())?;
    let opening = attempt.clone();
    let connecting = Connection::connector(
        uri,
        runtime,
        async move |uri, runtime| {
            let host = uri.authority.host.clone();
            let opened = timeout_at(deadline, async {
                let addresses = tokio::net::lookup_host((host.as_str(), uri.authority.port)).await?;
                let stream = AsyncTcpStream::connect(&runtime, addresses.collect::<Vec<_>>()).await?;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    let second = plain.get_ref().as_fd().try_clone_to_owned()?;
                    if !opening.lock().opened(second.into()) {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => stream.into_tls(&host, TLSConfig::default()).await,
                }
            });
            Ok(opened.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
        },
        properties,
    );
    let connected = timeout_at(deadline, connecting).await;
    match connected {
        Ok(Ok(connection)) => {
            *attempt.lock() = Attempt::Over;
            Ok(connection)
        }
        Ok(Err(error)) => {
            attempt.lock().end();
            Err(error.to_string())
        }
        Err(_) => {
            attempt.lock().end();
            Err(format!("no answer within {} ms", bound.as_millis()))
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// Threads of the client's in this process.
    fn threads() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("lapin")).count()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_stays_of_an_attempt_that_got_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let uri = format!("amqp://{}/%2f", listener.local_addr().expect("bound"));
        let uri: AMQPUri = uri.parse().expect("it parses");
        let connecting = connect(uri, "test", Duration::from_millis(200));
        let (accepted, connected) = tokio::join!(listener.accept(), connecting);
        assert_eq!(connected.err().as_deref(), Some("no answer within 200 ms"));
        let (mut socket, mut said) = (accepted.expect("accepted").0, Vec::new());
        let ended = timeout(Duration::from_secs(20), socket.read_to_end(&mut said)).await;
        assert!(ended.is_ok_and(|read| read.is_ok()), "the socket is shut");
        assert!(said.starts_with(b"AMQP"), "it spoke first");
        let gone = async {
            while threads() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), gone).await.expect("the client's thread ends");
    }
}
