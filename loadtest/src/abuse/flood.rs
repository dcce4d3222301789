//! Keys without end: distinct buyers who ask for a ticket, and distinct addresses that look at a gate, as a proxy
//! in front would tell them. Requests are pipelined: it is the keys that count here, not the round trips.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{closed, no_secret, publish};
use crate::cli::FloodArgs;
use crate::clock::Clock;
use crate::error::RunError;
use crate::http::Target;
use crate::random::Random;
use crate::report::say;

/// Requests that are sent before their answers are read.
const PIPELINED: u64 = 32;
/// Connections at once.
const CONNECTIONS: u64 = 8;
/// How long a batch may take to be sent, and how long its next answers.
const BATCH_S_MAX: Duration = Duration::from_secs(20);

/// Sends every key once; true when all requests were answered.
///
/// # Errors
/// When the platform does not answer, or there is no secret to mint tokens with.
pub(crate) async fn run(args: &FloodArgs, clock: &Clock) -> Result<bool, RunError> {
    let platform = args.target.platform(clock)?;
    let mint = platform.mint.clone().ok_or_else(no_secret)?;
    let gate = platform.shopper().gate(&args.sale).await?;
    let buy = gate.buy.ok_or_else(|| closed(&args.sale))?;
    let (host, seed, sale) = (platform.public.authority.clone(), args.target.seed, args.sale.clone());
    let begun = Instant::now();
    let run = clock.now_ms();
    let ticket = {
        let host = host.clone();
        move |n: u64| {
            let token = mint.token(&format!("flood-{run}-{n}"));
            format!(
                "POST {buy}/tickets HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
                 content-length: 0\r\n\r\n"
            )
        }
    };
    let buyers = all(&platform.public, args.buyers, ticket).await?;
    let look = move |n: u64| {
        let mut random = Random::of(seed, n);
        let (high, low) = (random.next() | 0x2000_0000_0000_0000, random.next());
        let address = std::net::Ipv6Addr::from((u128::from(high) << 64) | u128::from(low));
        format!(
            "GET /api/v1/sales/{sale}/gate HTTP/1.1\r\nhost: {host}\r\nx-forwarded-for: {address}\r\n\r\n"
        )
    };
    let junk = all(&platform.public, args.addresses, look).await?;
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!("{buyers} distinct buyers and {junk} distinct addresses answered in {seconds:.0} s"));
    publish(&json!({"buyers": buyers, "addresses": junk, "seconds": seconds}), args.target.json.as_deref())?;
    Ok(buyers == args.buyers && junk == args.addresses)
}

/// Sends the requests with these numbers, over all connections; how many were answered.
async fn all<F>(target: &Target, count: u64, request: F) -> Result<u64, RunError>
where
    F: Fn(u64) -> String + Clone + Send + 'static,
{
    let each = count.div_ceil(CONNECTIONS);
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..CONNECTIONS {
        let (from, until) = ((n * each).min(count), ((n + 1) * each).min(count));
        senders.spawn(send(target.clone(), from, until, request.clone()));
    }
    let mut answered = 0;
    while let Some(sent) = senders.join_next().await {
        answered += sent.map_err(|_| RunError::Generator)??;
    }
    Ok(answered)
}

async fn send<F>(target: Target, from: u64, until: u64, request: F) -> std::io::Result<u64>
where
    F: Fn(u64) -> String + Send,
{
    let mut stream = timeout(BATCH_S_MAX, TcpStream::connect(&target.authority)).await??;
    stream.set_nodelay(true)?;
    let (mut answers, mut answered) = (vec![0; 64 * 1024], 0);
    let mut next = from;
    while next < until {
        let batch = PIPELINED.min(until - next);
        let text: String = (next..next + batch).map(&request).collect();
        timeout(BATCH_S_MAX, stream.write_all(text.as_bytes())).await??;
        let mut count = Count::default();
        while count.seen < batch {
            let read = timeout(BATCH_S_MAX, stream.read(&mut answers)).await??;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            count.look(&answers[..read]);
        }
        answered += batch;
        next += batch;
    }
    Ok(answered)
}

/// Counts status lines in a stream of answers, also those that two reads share.
#[derive(Default)]
struct Count {
    seen: u64,
    matched: usize,
}

impl Count {
    fn look(&mut self, bytes: &[u8]) {
        const STATUS: &[u8] = b"HTTP/1.1 ";
        for byte in bytes {
            // No prefix of the line appears again inside it: a mismatch begins anew, with this byte.
            self.matched = if *byte == STATUS[self.matched] {
                self.matched + 1
            } else {
                usize::from(*byte == STATUS[0])
            };
            if self.matched == STATUS.len() {
                self.seen += 1;
                self.matched = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_counted_wherever_reads_end() {
        let answers = b"HTTP/1.1 200 OK\r\nhhttp: HHTTP/1.2\r\n\r\nHTTP/1.1 409 Conflict\r\n\r\n";
        for cut in 0..answers.len() {
            let mut count = Count::default();
            count.look(&answers[..cut]);
            count.look(&answers[cut..]);
            assert_eq!(count.seen, 2, "cut at {cut}");
        }
    }
}
