//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::clock::Clock;
use crate::demo::DemoSecrets;
use crate::error::RunError;
use crate::http::Target;
use crate::platform::Platform;
use crate::secret::TokenMint;

/// How long minted tokens last.
const TOKEN_TTL_S: i64 = 24 * 3600;

/// Storms against a running flash-sale platform, judged by the client's journal and the ledger.
#[derive(Debug, Parser)]
#[command(name = "loadtest", args_override_self = true)]
pub(crate) struct Cli {
    /// What to play.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to play.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A crowd of whole buyers (gate, ticket, order, payment, second thoughts) played by goose.
    Spike(SpikeArgs),
    /// A lean generator for high rates: one ticket and one order per buyer.
    Storm(StormArgs),
    /// Judges the journal of an earlier run.
    Verdict(VerdictArgs),
    /// Pay, cancel and expiry racing at the payment deadline.
    Races(RacesArgs),
    /// Several orders of mixed quantities per buyer, up to the per-buyer limit and the last unit.
    BuyersLimit(LimitArgs),
    /// What an honest visitor sees: page views, gates and orders, few and steady.
    Probe(ProbeArgs),
    /// Distinct buyers and distinct addresses without end.
    Flood(FloodArgs),
    /// Connections that never finish their header or their body.
    Slow(SlowArgs),
    /// Prints a buyer's bearer token, for trying requests by hand.
    Token(TokenArgs),
}

/// The platform, and what to leave behind.
#[derive(Clone, Debug, Args)]
pub(crate) struct TargetArgs {
    /// The buyers' listener.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub(crate) against: Target,
    /// The operators' listener.
    #[arg(long, default_value = "http://127.0.0.1:8081")]
    pub(crate) admin: Target,
    /// The operators' token. Without it both secrets are those of the demo that keeps its data in ./data.
    #[arg(long)]
    pub(crate) admin_token: Option<String>,
    /// Mint the buyers' tokens with this secret; without it every buyer uses the demo login.
    #[arg(long)]
    pub(crate) jwt_secret: Option<String>,
    /// Decides every draw of chance.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write the result to this file, for machines.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Wait at most this long for the platform to come to rest before it is judged.
    #[arg(long, default_value_t = 150)]
    pub(crate) drain_s: u64,
    /// Look up only about this many accepted orders, evenly spread (0: every one).
    #[arg(long, default_value_t = 0)]
    pub(crate) sample: usize,
}

impl TargetArgs {
    /// The platform these arguments name.
    ///
    /// # Errors
    /// When they have no operators' token, and no demo is at hand to lend its own.
    pub(crate) fn platform(&self, clock: &Clock) -> Result<Platform, RunError> {
        let (admin_token, jwt_secret) = match &self.admin_token {
            Some(token) => (token.clone(), self.jwt_secret.clone()),
            None => {
                let demo = DemoSecrets::find().ok_or(RunError::NeedsToken)?;
                (demo.admin_token, Some(self.jwt_secret.clone().unwrap_or(demo.jwt_secret)))
            }
        };
        let exp_s = clock.now_ms() / 1000 + TOKEN_TTL_S;
        Ok(Platform {
            public: self.against.clone(),
            admin: self.admin.clone(),
            admin_token,
            mint: jwt_secret.as_deref().map(|secret| TokenMint::new(secret, exp_s)),
        })
    }
}

/// The sale.
#[derive(Clone, Debug, Args)]
pub(crate) struct SaleArgs {
    /// Use this sale instead of creating one.
    #[arg(long)]
    pub(crate) sale: Option<String>,
    /// Units of the sale to create.
    #[arg(long, default_value_t = 2000)]
    pub(crate) stock: u32,
    /// Live units one buyer may hold.
    #[arg(long, default_value_t = 1)]
    pub(crate) per_user_limit: u32,
    /// Seconds until the created sale opens.
    #[arg(long, default_value_t = 3)]
    pub(crate) open_in_s: u32,
    /// Seconds an order may stay unpaid.
    #[arg(long, default_value_t = 3600)]
    pub(crate) pay_within_s: u32,
    /// Price of a unit.
    #[arg(long, default_value_t = 4900)]
    pub(crate) price_cents: i64,
}

/// `spike`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SpikeArgs {
    /// The platform.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The sale.
    #[command(flatten)]
    pub(crate) sale: SaleArgs,
    /// Append every 202 to this file.
    #[arg(long)]
    pub(crate) journal: Option<PathBuf>,
    /// Distinct buyers.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) buyers: u64,
    /// Goose users; each plays many buyers, one after another.
    #[arg(long, default_value_t = 200)]
    pub(crate) users: usize,
    /// Of a hundred buyers, so many click twice.
    #[arg(long, default_value_t = 15)]
    pub(crate) double_click_percent: u8,
    /// Of a hundred buyers, so many take a second ticket and order with it too.
    #[arg(long, default_value_t = 10)]
    pub(crate) second_ticket_percent: u8,
    /// Of a hundred accepted buyers, so many pay.
    #[arg(long, default_value_t = 50)]
    pub(crate) pay_percent: u8,
    /// Of a hundred accepted buyers, so many cancel.
    #[arg(long, default_value_t = 0)]
    pub(crate) cancel_percent: u8,
    /// Goose's own report (`.html`, `.json` or `.md`).
    #[arg(long)]
    pub(crate) goose_report: Option<PathBuf>,
}

/// `storm`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StormArgs {
    /// The platform.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The sale.
    #[command(flatten)]
    pub(crate) sale: SaleArgs,
    /// Append every 202 to this file.
    #[arg(long)]
    pub(crate) journal: Option<PathBuf>,
    /// Distinct buyers at most.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) buyers: u64,
    /// Seconds that new buyers arrive.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) duration: f64,
    /// Open loop: so many buyers a second arrive whatever the answers; without it, closed loop.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Connections; in the closed loop also the buyers at once.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Generator threads.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Units per order: one number, or several separated by commas that buyers draw from.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub(crate) quantity: Vec<u32>,
    /// Of a hundred buyers, so many are the one before them, who comes back for more.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) again_percent: u8,
    /// How long a buyer keeps retrying 429, 503 and broken connections.
    #[arg(long, default_value_t = 20)]
    pub(crate) patience_s: u64,
    /// Stop here: a later `verdict` judges the journal.
    #[arg(long)]
    pub(crate) no_verdict: bool,
}

/// `verdict`.
#[derive(Clone, Debug, Args)]
pub(crate) struct VerdictArgs {
    /// The platform.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The journal to judge.
    #[arg(long)]
    pub(crate) journal: PathBuf,
    /// Does not ask that what was accepted is sold: for a platform whose stock store was made to lie.
    #[arg(long)]
    pub(crate) may_reject: bool,
}

/// `races`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RacesArgs {
    /// The platform.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Signs the provider's webhooks.
    #[arg(long)]
    pub(crate) webhook_secret: String,
    /// Reports each capture so many times, out of order and with failures in between; otherwise some come twice.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) webhook_copies: Option<u32>,
    /// Of a hundred races, each kind of winner must win so many: otherwise the run proves nothing.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) winner_percent: u8,
    /// Another way for webhooks to the buyers' listener.
    #[arg(long)]
    pub(crate) webhooks_by: Option<Target>,
    /// Who cancelled sends the ticket again, several times, each on a new connection.
    #[arg(long)]
    pub(crate) click_again: bool,
    /// Orders to race.
    #[arg(long, default_value_t = 1000)]
    pub(crate) orders: u32,
    /// Seconds an order may stay unpaid.
    #[arg(long, default_value_t = 3)]
    pub(crate) pay_within_s: u32,
    /// Actors fire at most this long before or after the deadline.
    #[arg(long, default_value_t = 400)]
    pub(crate) jitter_ms: i64,
    /// Requests under way at once.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
}

/// `buyers-limit`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LimitArgs {
    /// The platform.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Units of the large sale.
    #[arg(long, default_value_t = 1001)]
    pub(crate) stock: u32,
    /// Distinct buyers; each wants more than the limit.
    #[arg(long, default_value_t = 500)]
    pub(crate) buyers: u64,
    /// Live units one buyer may hold.
    #[arg(long, default_value_t = 3)]
    pub(crate) per_user_limit: u32,
    /// Buyers at once.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
}

/// `token`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TokenArgs {
    /// The buyer.
    pub(crate) buyer: String,
    /// The secret that the platform checks tokens with.
    #[arg(long)]
    pub(crate) jwt_secret: String,
}

impl TokenArgs {
    /// The token; it lasts a day.
    pub(crate) fn token(&self, clock: &Clock) -> String {
        TokenMint::new(&self.jwt_secret, clock.now_ms() / 1000 + TOKEN_TTL_S).token(&self.buyer)
    }
}

/// `probe`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProbeArgs {
    /// The platform.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// An open sale with units enough.
    #[arg(long)]
    pub(crate) sale: String,
    /// Seconds.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) duration: f64,
    /// Page views a second, as many gates, and as many buyers.
    #[arg(long, default_value_t = 50.0)]
    pub(crate) rate: f64,
}

/// `flood`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FloodArgs {
    /// The platform.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// An open sale.
    #[arg(long)]
    pub(crate) sale: String,
    /// Distinct buyers; each asks for a ticket.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) buyers: u64,
    /// Distinct addresses, as a proxy tells them; each looks at the gate.
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) addresses: u64,
}

/// `slow`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SlowArgs {
    /// The platform.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// An open sale.
    #[arg(long)]
    pub(crate) sale: String,
    /// Seconds.
    #[arg(long, default_value_t = 20.0)]
    pub(crate) duration: f64,
    /// Connections held.
    #[arg(long, default_value_t = 2000)]
    pub(crate) connections: u32,
}
