//! Clients that are slow, silent or rude, on real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::app::BUY;
use crate::support::{App, Options};

/// What a client has for its header here.
const HEADER_MS: u64 = 400;

async fn impatient() -> App {
    let settings = vec![("SECKILL_HEADER_TIMEOUT_MS", "400"), ("SECKILL_BODY_TIMEOUT_MS", "400")];
    App::with(Options { settings, ..Options::default() }).await
}

/// Says each part after a pause, then listens; how long until the server cut the connection, and what it
/// said.
async fn cut(app: &App, parts: &[&[u8]], pause: Duration) -> (Duration, Vec<u8>) {
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let started = Instant::now();
    let mut said = Vec::new();
    let (mut reading, mut writing) = stream.split();
    let talking = async {
        for part in parts.iter().cycle().take(1000) {
            // A closed connection shows in what is read.
            if part.is_empty() || writing.write_all(part).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(pause).await;
        }
    };
    let listening = reading.read_to_end(&mut said);
    tokio::select! {
        _ = tokio::time::timeout(Duration::from_secs(5), listening) => {}
        () = talking => {}
    }
    (started.elapsed(), said)
}

#[track_caller]
fn in_time((took, said): &(Duration, Vec<u8>), what: &str) {
    // The bound, a quarter of it for the looks, and slack for a busy machine.
    let most = Duration::from_millis(HEADER_MS * 5 / 4 + 1500);
    assert!(*took >= Duration::from_millis(HEADER_MS / 2), "{what}: cut at once, {took:?}");
    assert!(*took < most, "{what}: not cut, {took:?}, {:?}", String::from_utf8_lossy(said));
}

#[tokio::test]
async fn slow_headers_are_cut_whatever_the_version() {
    let app = impatient().await;
    let tick = Duration::from_millis(50);
    let head: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n";
    in_time(&cut(&app, &[head, b""], tick).await, "a header without an end");
    in_time(&cut(&app, &[b""], tick).await, "silence");
    in_time(&cut(&app, &[b"P", b""], tick).await, "not even a version");
    in_time(&cut(&app, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""], tick).await, "a preface and no more");
    let settings_only: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    in_time(&cut(&app, &[settings_only, b""], tick).await, "settings and no request");
    let drip: Vec<&[u8]> = std::iter::once(head).chain(std::iter::repeat_n(&b"a"[..], 900)).collect();
    in_time(&cut(&app, &drip, Duration::from_millis(20)).await, "a header by the letter");
}

#[tokio::test]
async fn a_request_that_goes_on_is_not_cut_and_neither_is_a_stream() {
    let app = impatient().await;
    let (_, order) = app.buy("alice").await;
    let path = format!("/api/v1/orders/{order}/events");
    let mut stream = app.public.stream(&path, &app.token("alice")).await;
    assert!(stream.reads("queued").await);
    let quiet = Instant::now();
    // Longer than any silent connection may live.
    while quiet.elapsed() < Duration::from_millis(3 * HEADER_MS) {
        app.public.get("/healthy-or-not", None).await.refused("not_found");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.settle(order, "alice", domain::OrderStatus::Paid).await;
    assert!(stream.reads("paid").await, "{}", stream.read);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_cut() {
    let app = impatient().await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(app.address).await.unwrap();
    let started = Instant::now();
    let request = b"GET /assets/css/shop.css HTTP/1.1\r\nhost: x\r\n\r\n";
    // Asked for again and again, never read: the server's buffers fill, and then it must not wait for ever.
    loop {
        let writing = tokio::time::timeout(Duration::from_secs(8), stream.write_all(request)).await;
        match writing {
            Ok(Ok(())) => assert!(started.elapsed() < Duration::from_secs(8), "never cut"),
            Ok(Err(_)) => break,
            Err(_) => panic!("never cut"),
        }
    }
}

#[tokio::test]
async fn headers_are_bounded_in_number_and_size() {
    let app = impatient().await;
    for (fields, length) in [(200, 1), (1, 40_000)] {
        let field = format!("x-f: {}\r\n", "a".repeat(length));
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", field.repeat(fields));
        let (_, said) = cut(&app, &[head.as_bytes(), b""], Duration::from_millis(1)).await;
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with("HTTP/1.1 431 "), "{fields} of {length}: {said}");
    }
}

#[tokio::test]
async fn one_address_holds_so_many_connections_and_no_more() {
    let settings = vec![("SECKILL_CONNECTIONS_PER_ADDRESS_MAX", "3"), ("SECKILL_HEADER_TIMEOUT_MS", "60000")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..10 {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        let request = b"GET /api/v1/sales HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut answer = [0; 12];
        let answered =
            stream.write_all(request).await.is_ok() && stream.read_exact(&mut answer).await.is_ok();
        refused += usize::from(!answered);
        held.push(stream);
    }
    assert_eq!(refused, 7);
    drop(held);
    crate::support::until("a place", async || {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        let request = b"GET /api/v1/sales HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut answer = [0; 12];
        let answered =
            stream.write_all(request).await.is_ok() && stream.read_exact(&mut answer).await.is_ok();
        answered.then_some(())
    })
    .await;
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn a_rapid_reset_flood_ends_its_connection() {
    let app = App::start().await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(4, 0, 0, b""));
    // GET http://x/ in HPACK, then the reset, on each stream.
    let get = [0x82, 0x86, 0x84, 0x41, 0x01, b'x'];
    for n in 0..5000_u32 {
        flood.extend(frame(1, 5, 2 * n + 1, &get));
        flood.extend(frame(3, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    // Ends early when the server hangs up.
    let _ = stream.write_all(&flood).await;
    let mut said = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(4), stream.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "the connection goes on");
    app.public.get("/", None).await.ok(200);
}

#[tokio::test]
async fn slow_connections_by_the_hundred_leave_others_alone() {
    let app = impatient().await;
    let mut slow = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        let body = format!(
            "POST {BUY}/orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{"
        );
        let head = "GET / HTTP/1.1\r\nhost: x\r\n";
        let part = if n % 2 == 0 { head.to_owned() } else { body };
        stream.write_all(part.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    app.buy("alice").await;
    let started = Instant::now();
    for mut stream in slow {
        let mut said = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "not cut");
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}
