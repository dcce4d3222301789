//! Connections that dawdle: half of them never finish a header, half never finish a body; a byte a second each.
//! Whoever is cut comes back at once, so that as many as were asked for are always there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

use super::{closed, publish};
use crate::cli::SlowArgs;
use crate::clock::Clock;
use crate::error::RunError;
use crate::http::Target;
use crate::report::say;

/// Time between two bytes.
const DRIP: Duration = Duration::from_secs(1);
/// How long a connection may take to be made.
const CONNECT_S_MAX: Duration = Duration::from_secs(5);
/// Time before a refused connection tries again.
const AGAIN: Duration = Duration::from_millis(100);

/// What became of the connections.
#[derive(Default)]
struct Cut {
    count: AtomicU64,
    longest_ms: AtomicU64,
    refused: AtomicU64,
}

/// Dawdles for a while; true when connections of both kinds were cut.
///
/// # Errors
/// When the platform has no such sale.
pub(crate) async fn run(args: &SlowArgs, clock: &Clock) -> Result<bool, RunError> {
    let platform = args.target.platform(clock)?;
    let gate = platform.shopper().gate(&args.sale).await?;
    let buy = gate.buy.ok_or_else(|| closed(&args.sale))?;
    let host = &platform.public.authority;
    let header: Arc<str> = format!("GET / HTTP/1.1\r\nhost: {host}\r\nx-slow: ").into();
    let body: Arc<str> = format!(
        "POST {buy}/orders HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{\"ticket\":\""
    )
    .into();
    let until = Instant::now() + Duration::from_secs_f64(args.duration.max(0.0));
    let (headers, bodies) = (Arc::new(Cut::default()), Arc::new(Cut::default()));
    let mut dawdlers = tokio::task::JoinSet::new();
    for n in 0..args.connections {
        let (start, cut) = if n % 2 == 0 { (&header, &headers) } else { (&body, &bodies) };
        let dawdling = dawdle(platform.public.clone(), start.clone(), cut.clone(), until);
        // Not all at the same moment: dawdlers know nothing of each other.
        let begin = DRIP.mul_f64(f64::from(n) / f64::from(args.connections.max(1)));
        dawdlers.spawn(async move {
            tokio::time::sleep(begin).await;
            dawdling.await;
        });
    }
    while dawdlers.join_next().await.is_some() {}
    let of = |cut: &Cut| {
        let [count, longest, refused] =
            [&cut.count, &cut.longest_ms, &cut.refused].map(|n| n.load(Ordering::Relaxed));
        json!({"cut": count, "longest_ms": longest, "refused": refused})
    };
    let result = json!({"headers": of(&headers), "bodies": of(&bodies)});
    say(&format!("slow headers {}; slow bodies {}", result["headers"], result["bodies"]));
    publish(&result, args.target.json.as_deref())?;
    Ok(result["headers"]["cut"] != 0 && result["bodies"]["cut"] != 0)
}

async fn dawdle(target: Target, start: Arc<str>, cut: Arc<Cut>, until: Instant) {
    while Instant::now() < until {
        let connecting = timeout(CONNECT_S_MAX, TcpStream::connect(&target.authority));
        let Ok(Ok(mut stream)) = connecting.await else {
            cut.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let begun = Instant::now();
        let held = hold(&mut stream, start.as_bytes(), until).await;
        if held.is_err() {
            let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            cut.count.fetch_add(1, Ordering::Relaxed);
            cut.longest_ms.fetch_max(ms, Ordering::Relaxed);
        }
    }
}

/// Drips until the time is over; an error when the other end had enough before.
async fn hold(stream: &mut TcpStream, start: &[u8], until: Instant) -> std::io::Result<()> {
    stream.write_all(start).await?;
    let mut clock = interval(DRIP);
    let mut answer = [0; 1024];
    while Instant::now() < until {
        tokio::select! {
            _ = clock.tick() => stream.write_all(b"a").await?,
            read = stream.read(&mut answer) => {
                // An answer without being asked properly is the end of it too.
                read?;
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
        }
    }
    Ok(())
}
