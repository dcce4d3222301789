//! One connection through the proxy.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{From, Mood, Shared};

/// Bytes under way at once in one direction.
const BUFFER_BYTES: usize = 64 * 1024;

/// Passes bytes on in both directions, until one side is done or the network says so.
pub(super) async fn pass(shared: &Shared, number: u64, client: TcpStream, server: TcpStream) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // The first that ends takes the other with it: both sockets are closed.
    tokio::select! {
        () = pump(shared, number, From::Client, from_client, to_server) => {}
        () = pump(shared, number, From::Server, from_server, to_client) => {}
    }
}

async fn pump(shared: &Shared, number: u64, whose: From, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut mood = shared.mood.subscribe();
    let mut forgotten = shared.forgotten.subscribe();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut lost = false;
    loop {
        if number < *forgotten.borrow_and_update() {
            return dead_in_silence(&mut mood).await;
        }
        let now = *mood.borrow_and_update();
        if now == Mood::Cut || (lost && now != Mood::Swallow(whose)) {
            return;
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = mood.changed() => continue,
            _ = forgotten.changed() => continue,
        };
        let Ok(length @ 1..) = read else { return };
        // As the network is now that they came, not as it was when they were waited for.
        let now = *mood.borrow();
        if now == Mood::Swallow(whose) {
            lost = true;
            shared.swallowed.fetch_add(length as u64, Ordering::Relaxed);
            continue;
        }
        if now == Mood::Cut || lost || number < *forgotten.borrow() {
            continue;
        }
        if let Mood::Slow(time) = now {
            tokio::time::sleep(time).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Holds both sockets open and passes nothing on, until the proxy goes.
async fn dead_in_silence(mood: &mut tokio::sync::watch::Receiver<Mood>) {
    while *mood.borrow_and_update() != Mood::Cut {
        if mood.changed().await.is_err() {
            return;
        }
    }
}
