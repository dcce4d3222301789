//! `cargo xtask trial released`: how soon a unit that comes back can be bought at each of several gateways, when a
//! broadcast tells them, and when none does.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Options;
use crate::engines::Durability;
use crate::engines::rabbitmq::RabbitMq;
use crate::http::{bearer, exchange, is_success, json_of, json_of_success};
use crate::run::{Outcome, pause, release, wait_for};
use crate::stack::{Shape, Stack};
use crate::subject::{Subject, token};

/// Gateways at least: the one that is told of the cancel, and others.
const GATEWAYS_MIN: usize = 3;
/// Units of the sale; each buyer has one.
const UNITS: u32 = 3;
/// Time from the answer to a cancel within which every gateway sells again, if a broadcast tells it.
const TOLD_MAX: Duration = Duration::from_millis(200);
/// The same if none does: then gateways look by themselves.
const UNTOLD_MAX: Duration = Duration::from_millis(1_200);
/// Time between two tries to get a ticket.
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// Time between two looks at one order: less often than a buyer may ask, or the cancel would be refused.
const ORDER_EVERY: Duration = Duration::from_millis(50);
/// How long anything here may take before the trial is given up.
const STEP_MAX: Duration = Duration::from_secs(20);
/// A moment that never comes, in Unix milliseconds.
const NEVER: i64 = 9_999_999_999_999;
/// Where the management API lists the bindings of the exchange that broadcasts go through, and where it has each.
const LIST: &str = "/api/exchanges/%2F/seckill.broadcast/bindings/source";
const EACH: &str = "/api/bindings/%2F/e/seckill.broadcast/q";

/// Plays it with broadcasts, then without; both are shown before either fails it.
pub(super) fn run(options: &Options) -> Outcome {
    let shape = Shape {
        gateways: options.gateways.max(GATEWAYS_MIN),
        inventories: options.inventories,
        orders: options.orders,
        encrypted: options.encrypted,
        ..Shape::default()
    };
    let mut stack = Stack::new(&shape, Durability::Full)?;
    stack.start()?;
    stack.ready()?;
    let rabbitmq = &stack.engines.rabbitmq;
    let mut trial = Trial::begin(&stack)?;
    let told = show("told by a broadcast", trial.play(options.runs)?, TOLD_MAX);
    unbind(rabbitmq, shape.gateways)?;
    let untold = show("with all broadcasts dropped", trial.play(options.runs)?, UNTOLD_MAX);
    if !bindings(rabbitmq)?.is_empty() {
        return Err("a gateway listened to broadcasts again meanwhile".into());
    }
    let late: Vec<String> = told.into_iter().chain(untold).collect();
    if late.is_empty() { Ok(()) } else { Err(late.join("; ")) }
}

/// Prints each gateway's times; says so if one of them is too long.
fn show(what: &str, times: Vec<Vec<Duration>>, most: Duration) -> Option<String> {
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!("== {what}, at most {} ms", most.as_millis());
    let mut worst = Duration::ZERO;
    for (n, mut of_gateway) in (1..).zip(times) {
        of_gateway.sort_unstable();
        let median = of_gateway.get(of_gateway.len() / 2).copied().unwrap_or_default();
        let longest = of_gateway.last().copied().unwrap_or_default();
        let runs = of_gateway.len();
        println!("   gateway {n}: median {:.1} ms, maximum {:.1} ms, runs {runs}", ms(median), ms(longest));
        worst = worst.max(longest);
    }
    (worst > most).then(|| format!("{what}, a unit was on sale again only after {:.1} ms", ms(worst)))
}

/// The bindings of the queues that hear broadcasts.
fn bindings(rabbitmq: &RabbitMq) -> Outcome<Vec<Value>> {
    let bindings = rabbitmq.api("GET", LIST, "")?;
    bindings.as_array().cloned().ok_or_else(|| format!("no list of bindings: {bindings}"))
}

/// Takes away the bindings of all gateways' queues: from now on the broker drops every broadcast, and nobody notices.
fn unbind(rabbitmq: &RabbitMq, gateways: usize) -> Outcome {
    let bound = bindings(rabbitmq)?;
    if bound.len() < gateways {
        return Err(format!("only {} of {gateways} gateways listen to broadcasts", bound.len()));
    }
    for binding in &bound {
        let word = |name: &str| binding[name].as_str().unwrap_or_default();
        let path = format!("{EACH}/{}/{}", word("destination"), word("properties_key"));
        rabbitmq.api("DELETE", &path, "")?;
    }
    Ok(())
}

/// A ticket, and whose it is.
struct Ticket {
    bearer: String,
    ticket: String,
    order: String,
}

impl Ticket {
    /// Asks a gateway for one.
    fn fetch(gateway: u16, buy: &str, bearer: &str) -> Outcome<Self> {
        let answer = exchange(gateway, "POST", &format!("{buy}/tickets"), bearer, "{}")?;
        let issued = json_of_success(&answer)?;
        let word = |name: &str| {
            let word = issued[name].as_str().map(str::to_owned);
            word.ok_or_else(|| format!("a ticket without {name}: {issued}"))
        };
        Ok(Self { bearer: bearer.to_owned(), ticket: word("ticket")?, order: word("order_id")? })
    }

    /// Orders with it; the gateway's answer.
    fn order(&self, gateway: u16, buy: &str) -> Outcome<String> {
        let body = json!({"ticket": self.ticket, "quantity": 1}).to_string();
        exchange(gateway, "POST", &format!("{buy}/orders"), &self.bearer, &body)
    }
}

/// A gateway that sells.
struct Selling {
    /// When it was seen to, from the moment that was asked about.
    after: Duration,
    /// How it was seen.
    ticket: Ticket,
}

/// Asks a gateway for a ticket until there is one. Who is refused because of the sold-out flag makes nobody look into
/// the stock store, and is not held against any limit: asking so often neither helps nor hinders.
fn until_selling(gateway: u16, buy: &str, bearer: &str, since: Instant) -> Outcome<Selling> {
    loop {
        match Ticket::fetch(gateway, buy, bearer) {
            Ok(ticket) => return Ok(Selling { after: since.elapsed(), ticket }),
            Err(why) if since.elapsed() > STEP_MAX => {
                return Err(format!("the gateway on {gateway} sells nothing within {STEP_MAX:?}: {why}"));
            }
            Err(_) => pause(LOOK_EVERY),
        }
    }
}

/// The sale, and who bought.
struct Trial {
    /// The release binaries.
    folder: PathBuf,
    /// The gateways' ports.
    gateways: Vec<u16>,
    /// The buy path.
    buy: String,
    /// Who has come so far; nobody comes twice.
    buyers: u32,
    /// Which gateway sells the next unit.
    turn: usize,
    /// Who holds the units, the oldest order first.
    live: VecDeque<Ticket>,
    /// A ticket of each gateway, from when all sold: what is refused when they are sold out.
    spare: Vec<Ticket>,
}

impl Trial {
    /// A sale with one unit left, and a ticket of each gateway for it.
    fn begin(stack: &Stack) -> Outcome<Self> {
        let sale = json!({"id": "released", "title": "A lamp", "price_cents": 100, "currency": "EUR",
            "stock": UNITS, "per_user_limit": 1, "opens_at": 0, "ends_at": NEVER, "pay_within_s": 3600});
        let made = stack.admin_post("/admin/v1/sales", &sale)?;
        let mut trial = Self {
            folder: release()?,
            gateways: stack.buyers_ports(),
            buy: made["buy"].as_str().ok_or("the new sale has no buy path")?.to_owned(),
            buyers: 0,
            turn: 0,
            live: VecDeque::new(),
            spare: Vec::new(),
        };
        let newcomers = trial.newcomers()?;
        trial.all_selling(newcomers, Instant::now())?;
        for _ in 1..UNITS {
            trial.sell()?;
        }
        Ok(trial)
    }

    /// Sells out, cancels and looks, again and again; every gateway's times.
    fn play(&mut self, runs: u32) -> Outcome<Vec<Vec<Duration>>> {
        let mut times = vec![Vec::new(); self.gateways.len()];
        for n in 1..=runs {
            let seen = self.once().map_err(|why| format!("run {n} of {runs}: {why}"))?;
            times.iter_mut().zip(seen).for_each(|(of_gateway, time)| of_gateway.push(time));
        }
        Ok(times)
    }

    fn once(&mut self) -> Outcome<Vec<Duration>> {
        self.sell()?;
        self.all_refuse()?;
        // Named before the clock runs.
        let newcomers = self.newcomers()?;
        let released = self.cancel_oldest()?;
        self.all_selling(newcomers, released)
    }

    /// Somebody's authorization who was not here before.
    fn newcomer(&mut self) -> Outcome<String> {
        self.buyers += 1;
        Ok(bearer(&token(&self.folder, &format!("buyer-{}", self.buyers))?))
    }

    /// One for each gateway.
    fn newcomers(&mut self) -> Outcome<Vec<String>> {
        (0..self.gateways.len()).map(|_| self.newcomer()).collect()
    }

    /// Sells a unit at another gateway than the first, which is told of the cancels; each of them in turn.
    fn sell(&mut self) -> Outcome {
        let bearer = self.newcomer()?;
        self.turn += 1;
        let gateway = self.gateways[1 + self.turn % (self.gateways.len() - 1)];
        let ticket = until_selling(gateway, &self.buy, &bearer, Instant::now())?.ticket;
        // A 503 is retried with the same ticket.
        wait_for("an order being accepted", STEP_MAX, || {
            ticket.order(gateway, &self.buy).is_ok_and(|answer| is_success(&answer))
        })?;
        self.live.push_back(ticket);
        Ok(())
    }

    /// Uses up the spare tickets. It is the stock store that refuses them, and so every gateway has the sold-out flag
    /// afterwards, whatever it was told.
    fn all_refuse(&self) -> Outcome {
        for (gateway, spare) in self.gateways.iter().zip(&self.spare) {
            wait_for("a gateway being sold out", STEP_MAX, || {
                let answer = spare.order(*gateway, &self.buy).and_then(|answer| json_of(&answer));
                answer.is_ok_and(|problem| problem["code"] == "sold_out")
            })?;
        }
        Ok(())
    }

    /// Cancels the oldest order at the first gateway; when that was answered.
    fn cancel_oldest(&mut self) -> Outcome<Instant> {
        let Ticket { bearer, order, .. } = self.live.pop_front().ok_or("nothing is sold")?;
        let (gateway, path) = (self.gateways[0], format!("/api/v1/orders/{order}"));
        // What is still queued is not cancelled.
        wait_for("an order being committed", STEP_MAX, || {
            pause(ORDER_EVERY);
            let answer = exchange(gateway, "GET", &path, &bearer, "");
            let shown = answer.and_then(|answer| json_of_success(&answer));
            shown.is_ok_and(|order| order["status"] == "pending_payment")
        })?;
        let cancelled = exchange(gateway, "POST", &format!("{path}/cancel"), &bearer, "")?;
        let answered = Instant::now();
        json_of_success(&cancelled)?;
        Ok(answered)
    }

    /// Asks every gateway at once until each sells; how long after that moment they did. Their tickets are the next
    /// spare ones.
    fn all_selling(&mut self, newcomers: Vec<String>, since: Instant) -> Outcome<Vec<Duration>> {
        let buy = self.buy.as_str();
        let selling: Outcome<Vec<Selling>> = std::thread::scope(|scope| {
            let asked = self.gateways.iter().zip(newcomers);
            let asked: Vec<_> = asked
                .map(|(&gateway, bearer)| scope.spawn(move || until_selling(gateway, buy, &bearer, since)))
                .collect();
            let seen = asked.into_iter().map(|thread| thread.join());
            seen.map(|seen| seen.unwrap_or_else(|_| Err("a thread that asks panicked".into()))).collect()
        });
        let (times, spare) = selling?.into_iter().map(|selling| (selling.after, selling.ticket)).unzip();
        self.spare = spare;
        Ok(times)
    }
}
