//! Clients that are slow, silent or rude, on real sockets.

use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::app::BUY;
use crate::support::http::authorized;
use crate::support::{App, Options};

/// What a client has for its header here.
const HEADER_MS: u64 = 400;
/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `GET http://x/` in HPACK.
const GET: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 0x01, b'x'];
/// Kinds of HTTP/2 frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

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
    in_time(&cut(&app, &[PREFACE, b""], tick).await, "a preface and no more");
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

#[tokio::test]
async fn a_connection_above_the_limit_waits_until_another_has_gone() {
    async fn ask(stream: &mut TcpStream) {
        stream.write_all(b"GET /api/v1/sales/sale-1/gate HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    }
    async fn hear(stream: &mut TcpStream) {
        let answered = stream.read(&mut [0; 4096]).await.unwrap();
        assert!(answered > 0, "cut");
    }
    let settings = vec![("SECKILL_CONNECTIONS_MAX", "2"), ("SECKILL_HEADER_TIMEOUT_MS", "60000")];
    let app = App::with(Options { settings, ..Options::default() }).await;
    let mut first = TcpStream::connect(app.address).await.unwrap();
    let mut second = TcpStream::connect(app.address).await.unwrap();
    for stream in [&mut first, &mut second] {
        ask(stream).await;
        hear(stream).await;
    }
    // The kernel takes it; the gateway does not.
    let mut third = TcpStream::connect(app.address).await.unwrap();
    ask(&mut third).await;
    for _ in 0..50 {
        ask(&mut first).await;
        hear(&mut first).await;
    }
    let early = third.try_read(&mut [0; 1]).map_err(|e| e.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock), "it was answered");
    drop(second);
    hear(&mut third).await;
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
    let mut flood = PREFACE.to_vec();
    flood.extend(frame(SETTINGS, 0, 0, b""));
    // The request, then the reset, on each stream.
    for n in 0..5000_u32 {
        flood.extend(frame(HEADERS, 5, 2 * n + 1, &GET));
        flood.extend(frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    // Ends early when the server hangs up.
    let _ = stream.write_all(&flood).await;
    let mut said = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(4), stream.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "the connection goes on");
    app.public.get("/", None).await.ok(200);
}

/// So many requests on a connection that has no room for a byte of their answers.
fn asks_without_room(requests: u32) -> Vec<u8> {
    let mut said = PREFACE.to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    said.extend(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for n in 0..requests {
        said.extend(frame(HEADERS, 5, 2 * n + 1, &GET));
    }
    said
}

/// How many frames of this kind came, not counting empty ones.
fn count(mut said: &[u8], kind: u8) -> usize {
    let mut found = 0;
    while let Some((head, rest)) = said.split_first_chunk::<9>() {
        let length = (usize::from(head[0]) << 16) | (usize::from(head[1]) << 8) | usize::from(head[2]);
        found += usize::from(head[3] == kind && length > 0);
        said = rest.get(length..).unwrap_or_default();
    }
    found
}

#[tokio::test]
async fn pings_keep_no_client_that_leaves_no_room_for_its_answers() {
    let app = impatient().await;
    let (asks, ping) = (asks_without_room(64), frame(PING, 0, 0, &[0; 8]));
    let parts: Vec<&[u8]> = std::iter::once(&asks[..]).chain(std::iter::repeat_n(&ping[..], 900)).collect();
    let ended = cut(&app, &parts, Duration::from_millis(20)).await;
    in_time(&ended, "pings and no room");
    let (_, said) = ended;
    assert_eq!((count(&said, HEADERS), count(&said, DATA)), (64, 0), "answered, as far as there is room");
    assert!(count(&said, PING) > 1);
}

#[tokio::test]
async fn a_client_that_takes_its_answer_byte_by_byte_is_not_cut() {
    let app = impatient().await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(&asks_without_room(1)).await.unwrap();
    let room = frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
    let more = [room, frame(PING, 0, 0, &[0; 8])].concat();
    let (mut said, mut taken, started) = (Vec::<u8>::new(), 0, Instant::now());
    // Longer than any silent connection may live.
    while started.elapsed() < Duration::from_millis(3 * HEADER_MS) {
        stream.write_all(&more).await.unwrap();
        taken += 1;
        while count(&said, DATA) < taken {
            let reading = tokio::time::timeout(Duration::from_secs(5), stream.read_buf(&mut said)).await;
            assert!(reading.expect("a byte in time").unwrap() > 0, "cut after {taken}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_silent_stream_over_http2_is_not_cut() {
    let app = impatient().await;
    let (_, order) = app.buy("alice").await;
    let url = format!("http://{}/api/v1/orders/{order}/events", app.address);
    let mut request = Request::get(url).body(Full::<Bytes>::default()).unwrap();
    *request.headers_mut() = authorized(Some(&app.token("alice")));
    let client = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let mut body = client.request(request).await.unwrap().into_body();
    let mut reading = tokio::spawn(async move {
        let mut read = String::new();
        while !read.contains("paid") {
            let data = body.frame().await.expect("more").expect("a whole stream").into_data();
            read.push_str(&String::from_utf8_lossy(&data.unwrap_or_default()));
        }
    });
    // Longer than any silent connection may live.
    let silence = tokio::time::timeout(Duration::from_millis(3 * HEADER_MS), &mut reading).await;
    assert!(silence.is_err(), "{silence:?}");
    app.settle(order, "alice", domain::OrderStatus::Paid).await;
    tokio::time::timeout(Duration::from_secs(5), reading).await.expect("in time").unwrap();
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
