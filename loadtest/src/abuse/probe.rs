//! An honest crowd, small and steady: page views, gates, and buyers with a ticket and an order each. It asks
//! nobody to hurry and counts every millisecond, from the moment a request was due.

use std::iter::successors;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{closed, no_secret, publish};
use crate::cli::ProbeArgs;
use crate::clock::Clock;
use crate::error::RunError;
use crate::http::{Connection, body};
use crate::report::say;
use crate::secret::TokenMint;

/// Longest time that is told apart, in microseconds.
const LONGEST_US: u64 = 60_000_000;
/// Significant digits of a time.
const DIGITS: u8 = 3;

/// Visits for a while, then prints what it took; true when every visit was answered as it should be.
///
/// # Errors
/// When the sale has no buy path, or there is no secret to mint tokens with.
pub(crate) async fn run(args: &ProbeArgs, clock: &Clock) -> Result<bool, RunError> {
    let platform = args.target.platform(clock)?;
    let mint = platform.mint.clone().ok_or_else(no_secret)?;
    let gate = platform.shopper().gate(&args.sale).await?;
    let buy = gate.buy.ok_or_else(|| closed(&args.sale))?;
    let host = platform.public.authority.clone();
    let get = |path: String| format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes();
    let (page, gate) = (get(format!("/s/{}", args.sale)), get(format!("/api/v1/sales/{}/gate", args.sale)));
    let buyers = Buyers { prefix: format!("probe-{}-", clock.now_ms()), mint, buy, host };

    let pace =
        Pace { every: Duration::from_secs_f64(1.0 / args.rate.max(0.1)), seconds: args.duration.max(0.0) };
    let begin = Instant::now();
    let connect = || Connection::new(platform.public.clone());
    // A third of a beat apart: visitors know nothing of each other.
    let pages = pace.visitor(begin, connect(), page);
    let gates = pace.visitor(begin + pace.every / 3, connect(), gate);
    let beats = pace.beats(begin + pace.every * 2 / 3);
    let connection = connect();
    let bought = spawn_blocking(move || buy_all(connection, &buyers, beats));
    let lost = |_| RunError::Generator;
    let (tickets, orders) = bought.await.map_err(lost)??;
    let all = [
        ("page", pages.await.map_err(lost)??),
        ("gate", gates.await.map_err(lost)??),
        ("ticket", tickets),
        ("order", orders),
    ];
    for (name, seen) in &all {
        say(&format!("{name:8} {}", seen.text()));
    }
    let result: serde_json::Map<String, Value> =
        all.iter().map(|(name, seen)| ((*name).to_owned(), seen.json())).collect();
    publish(&result.into(), args.target.json.as_deref())?;
    Ok(all.iter().all(|(_, seen)| seen.wrong == 0))
}

/// Who buys, where and as whom.
struct Buyers {
    prefix: String,
    mint: TokenMint,
    buy: String,
    host: String,
}

impl Buyers {
    fn request(&self, step: &str, token: &str, text: &str) -> Vec<u8> {
        let (buy, host) = (&self.buy, &self.host);
        let head = format!(
            "POST {buy}/{step} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        head.into_bytes()
    }
}

/// What a visitor saw.
type Visits = std::io::Result<Seen>;

/// How often a visitor comes, and for how many seconds.
#[derive(Clone, Copy)]
struct Pace {
    every: Duration,
    seconds: f64,
}

impl Pace {
    /// The moments at which a visitor comes, from this one on. What waited behind a slow answer was due all the
    /// while.
    fn beats(self, first: Instant) -> impl Iterator<Item = Instant> + Send {
        let last = first + Duration::from_secs_f64(self.seconds);
        successors(Some(first), move |due| Some(*due + self.every)).take_while(move |due| *due < last)
    }

    /// Asks for the same thing at every beat.
    fn visitor(self, first: Instant, mut connection: Connection, request: Vec<u8>) -> JoinHandle<Visits> {
        spawn_blocking(move || {
            let (alone, mut seen) = (alone()?, Seen::new());
            for due in self.beats(first) {
                sleep_until(due);
                let answer = alone.block_on(connection.exchange(&request));
                seen.note(due, answer.is_ok_and(|a| a.status == 200));
            }
            Ok(seen)
        })
    }
}

/// A visitor has a thread of its own and sleeps by the system's clock: a shared runtime would add its own queue
/// to what the platform took, and its timers count in whole milliseconds.
fn alone() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn sleep_until(due: Instant) {
    #[expect(clippy::disallowed_methods, reason = "a visitor comes at a moment, whatever the state")]
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

fn buy_all(
    mut connection: Connection,
    buyers: &Buyers,
    beats: impl Iterator<Item = Instant>,
) -> std::io::Result<(Seen, Seen)> {
    let alone = alone()?;
    let (mut tickets, mut orders) = (Seen::new(), Seen::new());
    for (n, due) in beats.enumerate() {
        let token = buyers.mint.token(&format!("{}{n}", buyers.prefix));
        let request = buyers.request("tickets", &token, "{}");
        sleep_until(due);
        let answer = alone.block_on(connection.exchange(&request));
        let ticket =
            answer.ok().filter(|a| a.status == 200).and_then(|_| body::text(connection.body(), "ticket"));
        tickets.note(due, ticket.is_some());
        let Some(ticket) = ticket else { continue };
        let wish = json!({"ticket": &*ticket, "quantity": 1}).to_string();
        let request = buyers.request("orders", &token, &wish);
        let due = Instant::now();
        let answer = alone.block_on(connection.exchange(&request));
        orders.note(due, answer.is_ok_and(|a| a.status == 202));
    }
    Ok((tickets, orders))
}

/// What visits of one kind took.
struct Seen {
    took_us: Histogram<u64>,
    wrong: u64,
}

impl Seen {
    fn new() -> Self {
        let took_us = Histogram::new_with_max(LONGEST_US, DIGITS).expect("these bounds fit each other");
        Self { took_us, wrong: 0 }
    }

    fn note(&mut self, due: Instant, is_right: bool) {
        let us = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.took_us.saturating_record(us);
        self.wrong += u64::from(!is_right);
    }

    fn ms(&self, quantile: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a minute in microseconds is far below 2^52")]
        let us = self.took_us.value_at_quantile(quantile) as f64;
        us / 1_000.0
    }

    fn text(&self) -> String {
        let (p50, p99, most) = (self.ms(0.5), self.ms(0.99), self.ms(1.0));
        format!(
            "p50 {p50:.2} p99 {p99:.2} most {most:.2} ms, {} visits, {} wrong",
            self.took_us.len(),
            self.wrong
        )
    }

    fn json(&self) -> Value {
        let (p50, p99, most) = (self.ms(0.5), self.ms(0.99), self.ms(1.0));
        json!({"p50_ms": p50, "p99_ms": p99, "max_ms": most, "visits": self.took_us.len(), "wrong": self.wrong})
    }
}
