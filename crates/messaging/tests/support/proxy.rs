//! A proxy between broker and client that can keep confirms to itself or turn them into refusals, or stop forwarding
//! without closing anything.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A method frame; class and method of a confirm, of a refusal, which has the same arguments, and of what opens a channel
/// on which there are any.
const METHOD: u8 = 1;
const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];
const BASIC_NACK: [u8; 4] = [0, 60, 0, 120];
const CONFIRM_SELECT_OK: [u8; 4] = [0, 85, 0, 11];
/// Type, channel and length of a frame.
const HEAD_BYTES: usize = 7;

/// What the proxy does.
#[derive(Default)]
pub(crate) struct Behaviour {
    pub(crate) swallows_confirms: AtomicBool,
    pub(crate) swallowed: AtomicU64,
    /// Confirms that the client hears as refusals.
    pub(crate) refuses: AtomicBool,
    /// Channels for publishing that were opened.
    pub(crate) channels: AtomicU64,
    frozen: CancellationToken,
}

/// A proxy on a port of its own.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) behaviour: Arc<Behaviour>,
}

impl Proxy {
    /// Starts forwarding to the broker at `upstream`, a `host:port`.
    pub(crate) async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behaviour = Arc::new(Behaviour::default());
        let shared = Arc::clone(&behaviour);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&upstream).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(forward(from_client, to_server, Arc::clone(&shared)));
                tokio::spawn(filter(from_server, to_client, Arc::clone(&shared)));
            }
        });
        Self { port, behaviour }
    }

    /// Forwards nothing more, and closes nothing: what a pulled cable looks like.
    pub(crate) fn freeze(&self) {
        self.behaviour.frozen.cancel();
    }
}

/// From the client, until it is frozen.
async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, behaviour: Arc<Behaviour>) {
    tokio::select! {
        _ = copy(&mut from, &mut to) => {}
        () = behaviour.frozen.cancelled() => std::future::pending().await,
    }
}

/// From the broker, frame by frame.
async fn filter(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, behaviour: Arc<Behaviour>) {
    loop {
        let frame = tokio::select! {
            frame = frame(&mut from) => frame,
            () = behaviour.frozen.cancelled() => std::future::pending().await,
        };
        let Ok(mut frame) = frame else { return };
        let is = |what: [u8; 4]| frame[0] == METHOD && frame[HEAD_BYTES..].starts_with(&what);
        behaviour.channels.fetch_add(u64::from(is(CONFIRM_SELECT_OK)), Ordering::SeqCst);
        let is_confirm = is(BASIC_ACK);
        if is_confirm && behaviour.refuses.load(Ordering::SeqCst) {
            frame[HEAD_BYTES..HEAD_BYTES + BASIC_NACK.len()].copy_from_slice(&BASIC_NACK);
        }
        if is_confirm && behaviour.swallows_confirms.load(Ordering::SeqCst) {
            behaviour.swallowed.fetch_add(1, Ordering::SeqCst);
        } else if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn frame(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEAD_BYTES];
    from.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]);
    // One more byte ends the frame.
    frame.resize(HEAD_BYTES + usize::try_from(length).unwrap() + 1, 0);
    from.read_exact(&mut frame[HEAD_BYTES..]).await?;
    Ok(frame)
}
