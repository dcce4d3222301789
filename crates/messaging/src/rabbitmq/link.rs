//! A connection that is kept up: made anew whenever it is lost, on the next node of the list.
//!
//! Heartbeats find a dead peer in twice their interval; asking something every so often finds it
//! sooner, and finds a broker that lives but does not answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Event, ExchangeKind};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::address::{Addresses, node};
use super::dial;
use super::options::ANSWER_MS_MAX;
use super::plan::Plan;
use crate::topology;

/// How long a node may take to accept a connection, in milliseconds.
const CONNECT_MS_MAX: u64 = 3_000;
/// How long the declaration of the topology may take, in milliseconds. New queues need an election each.
const DECLARE_MS_MAX: u64 = 60_000;
/// Between two small questions, in milliseconds.
const ASK_EVERY_MS: u64 = 2_000;
/// Between two declarations, in milliseconds: bindings taken away by mistake come back.
const DECLARE_EVERY_MS: u64 = 10_000;
/// The first wait after a failure, in milliseconds; doubled each time.
const RETRY_MS: u64 = 50;
/// The longest such wait, in milliseconds.
const RETRY_MS_MAX: u64 = 1_000;
/// How long the closing of a channel or connection may take, in milliseconds.
const CLOSE_MS_MAX: u64 = 1_000;
/// Between two looks at what the client says of a connection, in milliseconds.
const STATUS_EVERY_MS: u64 = 100;
/// What the broker is told at a closing.
const BYE: &str = "bye";

const CONNECTED: &str = "seckill_queue_connected";
const CONNECTIONS: &str = "seckill_queue_connections_total";
const BLOCKED: &str = "seckill_queue_blocked";

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Publishing: this one is blocked when the broker runs out of memory or disk.
    Publish,
    /// Consuming and asking.
    Consume,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

/// A connection that works.
pub(super) struct Live {
    connection: Connection,
    /// Cancelled when the connection is given up.
    pub(super) lost: CancellationToken,
    /// Why the broker takes nothing, while it does not.
    pub(super) blocked: watch::Sender<Option<String>>,
    /// Somebody found that the connection does not work.
    suspected: watch::Sender<Option<String>>,
}

impl Live {
    /// Opens a channel.
    pub(super) async fn channel(&self) -> Result<Channel, String> {
        within(ANSWER_MS_MAX, self.connection.create_channel()).await
    }

    /// Opens a channel on which publishes are confirmed.
    pub(super) async fn confirming_channel(&self) -> Result<Channel, String> {
        let channel = self.channel().await?;
        within(ANSWER_MS_MAX, channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }

    /// Gives the connection up: another one takes its place.
    pub(super) fn suspect(&self, why: String) {
        self.suspected.send_replace(Some(why));
    }

    pub(super) fn blocked(&self) -> Option<String> {
        self.blocked.borrow().clone()
    }
}

/// How things stand.
#[derive(Clone)]
pub(super) enum State {
    /// Not connected, and why.
    Down(String),
    /// Connected, and the topology is declared.
    Up(Arc<Live>),
}

/// A connection that is kept up until it is closed.
pub(super) struct Link {
    state: watch::Receiver<State>,
}

impl Link {
    /// Starts connecting. The task ends, and says farewell to the broker, when `closing` is cancelled.
    pub(super) fn start(
        addresses: Addresses,
        purpose: Purpose,
        plan: Arc<Plan>,
        closing: CancellationToken,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (state, watched) = watch::channel(State::Down("not connected yet".into()));
        let connector = Connector { addresses, purpose, plan, closing, state };
        (Self { state: watched }, tokio::spawn(connector.run()))
    }

    /// The connection, or why there is none.
    pub(super) fn live(&self) -> Result<Arc<Live>, String> {
        match &*self.state.borrow() {
            State::Up(live) => Ok(Arc::clone(live)),
            State::Down(why) => Err(why.clone()),
        }
    }

    /// Follows the state.
    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

struct Connector {
    addresses: Addresses,
    purpose: Purpose,
    plan: Arc<Plan>,
    closing: CancellationToken,
    state: watch::Sender<State>,
}

impl Connector {
    async fn run(self) {
        let closing = self.closing.clone();
        let mut retry = RETRY_MS;
        for attempt in 0_usize.. {
            let connecting = tokio::select! {
                () = closing.cancelled() => break,
                connected = self.connect(attempt) => connected,
            };
            let why = match connecting {
                Ok(live) => {
                    retry = RETRY_MS;
                    self.tend(live).await
                }
                Err(why) => why,
            };
            if closing.is_cancelled() {
                break;
            }
            tracing::warn!(connection = self.purpose.as_str(), %why, "not connected to RabbitMQ");
            self.state.send_replace(State::Down(why));
            tokio::select! {
                () = closing.cancelled() => break,
                () = sleep(Duration::from_millis(retry)) => {}
            }
            // One round over all nodes before the wait grows.
            if (attempt + 1).is_multiple_of(self.addresses.count()) {
                retry = (retry * 2).min(RETRY_MS_MAX);
            }
        }
        self.state.send_replace(State::Down("the broker is closed".into()));
    }

    async fn connect(&self, attempt: usize) -> Result<Arc<Live>, String> {
        let uri = self.addresses.nth(attempt);
        let name = node(&uri);
        let told = |why: String| format!("{name}: {why}");
        let called = format!("seckill {}", self.purpose.as_str());
        let bound = Duration::from_millis(CONNECT_MS_MAX);
        let connection = dial::connect(uri, &called, bound).await.map_err(told)?;
        let live = Live {
            connection,
            lost: CancellationToken::new(),
            blocked: watch::Sender::new(None),
            suspected: watch::Sender::new(None),
        };
        self.declare(&live).await.map_err(told)?;
        tracing::info!(connection = self.purpose.as_str(), node = name, "connected to RabbitMQ");
        metrics::counter!(CONNECTIONS, "connection" => self.purpose.as_str()).increment(1);
        Ok(Arc::new(live))
    }

    async fn declare(&self, live: &Live) -> Result<(), String> {
        let channel = live.channel().await?;
        within(DECLARE_MS_MAX, self.plan.declare(&channel)).await?;
        close_channel(&channel).await;
        Ok(())
    }

    /// Lets a connection be used, and watches over it until it is lost; why it was.
    async fn tend(&self, live: Arc<Live>) -> String {
        let connected = metrics::gauge!(CONNECTED, "connection" => self.purpose.as_str());
        connected.set(1.0);
        // Somebody listens before anybody publishes: publishing is what makes the broker complain.
        let news = live.connection.events_listener();
        self.state.send_replace(State::Up(Arc::clone(&live)));
        let why = tokio::select! {
            () = self.closing.cancelled() => "the broker is closed".to_owned(),
            why = listen(&live, news) => why,
            why = self.ask(&live) => why,
            why = suspicion(&live) => why,
        };
        connected.set(0.0);
        self.state.send_replace(State::Down(why.clone()));
        live.lost.cancel();
        if live.blocked().is_some() {
            set_blocked(&live, None);
        }
        let leaving = Arc::clone(&live);
        let bye = async move {
            let closed = leaving.connection.close(REPLY_SUCCESS, BYE.into());
            let _ = timeout(Duration::from_millis(CLOSE_MS_MAX), closed).await;
        };
        if self.closing.is_cancelled() {
            bye.await;
        } else {
            // A connection that does not work may not hear it either: the next one does not wait.
            tokio::spawn(bye);
        }
        why
    }

    /// Asks now and then, and declares again; returns when there is no answer.
    async fn ask(&self, live: &Live) -> String {
        let mut ticks = interval(Duration::from_millis(ASK_EVERY_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut declared = Instant::now();
        let mut control = None;
        loop {
            ticks.tick().await;
            // A blocked broker does not read what publishers say; heartbeats it sends all the same.
            if live.blocked().is_some() {
                continue;
            }
            let declares = self.purpose == Purpose::Consume
                && declared.elapsed() >= Duration::from_millis(DECLARE_EVERY_MS);
            if declares {
                declared = Instant::now();
                // What is declared in vain is told, and tried again: consuming goes on.
                if let Err(why) = self.declare(live).await {
                    tracing::error!(%why, "the topology cannot be declared");
                    // A refusal comes at once. What never answers may be a node that is cut off from the others.
                    if declared.elapsed() >= Duration::from_millis(DECLARE_MS_MAX) {
                        return why;
                    }
                }
            } else if let Err(why) = question(live, &mut control).await
                && live.blocked().is_none()
            {
                return why;
            }
        }
    }
}

/// Follows the connection's own news until it ends.
async fn listen(live: &Live, events: impl Stream<Item = Event>) -> String {
    let mut events = std::pin::pin!(events);
    let mut last = String::from("the connection ended");
    let mut look = interval(Duration::from_millis(STATUS_EVERY_MS));
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(why)) => {
                    tracing::error!(why, "RabbitMQ takes no messages");
                    set_blocked(live, Some(why));
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!("RabbitMQ takes messages again");
                    set_blocked(live, None);
                }
                Some(Event::Error(error)) => last = error.to_string(),
                Some(_) => {}
                None => return last,
            },
            _ = look.tick() => {}
        }
        if !live.connection.status().connected() {
            return last;
        }
    }
}

fn set_blocked(live: &Live, why: Option<String>) {
    metrics::gauge!(BLOCKED).set(f64::from(u8::from(why.is_some())));
    live.blocked.send_replace(why);
}

async fn suspicion(live: &Live) -> String {
    let mut suspected = live.suspected.subscribe();
    // The sender lives as long as `live` does.
    let why = suspected.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
    why.unwrap_or_default()
}

/// The smallest question there is: does an exchange exist? Asked on a channel kept for it.
async fn question(live: &Live, control: &mut Option<Channel>) -> Result<(), String> {
    let channel = match control.take() {
        Some(channel) => channel,
        None => live.channel().await?,
    };
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let asked = channel.exchange_declare(
        topology::ORDERS.into(),
        ExchangeKind::Direct,
        passive,
        FieldTable::default(),
    );
    within(ANSWER_MS_MAX, asked).await?;
    *control = Some(channel);
    Ok(())
}

/// Closes a channel, as far as the broker still cares.
pub(super) async fn close_channel(channel: &Channel) {
    let _ = timeout(Duration::from_millis(CLOSE_MS_MAX), channel.close(REPLY_SUCCESS, BYE.into())).await;
}

/// Waits so long and no longer.
pub(super) async fn within<T>(
    millis: u64,
    asked: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, String> {
    match timeout(Duration::from_millis(millis), asked).await {
        Ok(answered) => answered.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {millis} ms")),
    }
}
