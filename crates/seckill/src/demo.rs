//! `seckill demo`: the platform with everything filled in, and a sale that opens in half a minute.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use contract::Code;
use contract::api::{AdminSale, NewSale};
use domain::{Clock, SaleId};
use service_kit::http::{ClientError, HttpClient};
use service_kit::lifecycle::Failure;
use service_kit::{Settings, SystemClock};
use tokio_util::sync::CancellationToken;

use crate::platform::{Running, start};

/// Seconds until the demo sale opens.
const OPENS_IN_S: i64 = 30;
/// Length of the demo sale, in seconds.
const LASTS_S: i64 = 2 * 3600;
/// Demo sales kept apart by number at most.
const SALES_MAX: u32 = 1_000;
/// How long the platform may take to become ready, in milliseconds, and how often it is asked.
const READY_WAIT_MS_MAX: u64 = 30_000;
const READY_POLL_MS: u64 = 50;

/// What a demo may leave unset, and what it then is.
const FILLED_IN: [(&str, &str); 5] = [
    ("SECKILL_STOCK_URL", "memory:"),
    ("SECKILL_QUEUE_URL", "embedded:"),
    ("SECKILL_DATABASE_URL", "sqlite:./data/seckill.db"),
    ("SECKILL_DEMO", "true"),
    ("SECKILL_LOG", "warn"),
];

/// Secrets a demo draws, and how many random bytes each has.
const DRAWN: [(&str, &str, usize); 4] = [
    ("SECKILL_JWT_SECRET", "", 32),
    ("SECKILL_TICKET_KEYS", "k1:", 32),
    ("SECKILL_ADMIN_TOKEN", "", 16),
    ("SECKILL_WEBHOOK_SECRET", "", 32),
];

/// The settings of a demo: what the environment says, and the rest filled in. Secrets are drawn once
/// and kept beside the data, so that a restarted demo still knows its buyers and their tickets.
///
/// # Errors
/// An unknown setting, or a secrets file that cannot be kept.
pub fn settings(vars: impl IntoIterator<Item = (String, String)>) -> Result<Settings, Failure> {
    let vars: Vec<(String, String)> = vars.into_iter().collect();
    let given = |name: &str| vars.iter().any(|(n, _)| n == name);
    let mut settings = Settings::from_vars(vars.clone())?;
    for (name, value) in FILLED_IN {
        if !given(name) {
            settings = settings.with(name, value);
        }
    }
    let data = parts::data_dir(&settings)?;
    for (name, secret) in kept_secrets(&data.join("demo-secrets.env"))? {
        if !given(&name) {
            settings = settings.with(&name, secret);
        }
    }
    Ok(settings)
}

/// Reads the secrets, or draws and writes them, readable by their owner only.
fn kept_secrets(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let failed = |e: std::io::Error| Failure::failed(format_args!("{}: {e}", path.display()));
    if let Ok(text) = fs::read_to_string(path) {
        let known = |name: &str| DRAWN.iter().any(|(drawn, ..)| *drawn == name);
        let lines = text.lines().filter_map(|line| line.split_once('='));
        return Ok(lines.filter(|(n, _)| known(n)).map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
    }
    let mut secrets = Vec::new();
    for (name, prefix, bytes) in DRAWN {
        let mut random = vec![0; bytes];
        getrandom::fill(&mut random).map_err(Failure::failed)?;
        secrets.push((name.to_owned(), format!("{prefix}{}", hex::encode(random))));
    }
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    for (name, secret) in &secrets {
        writeln!(file, "{name}={secret}").map_err(failed)?;
    }
    Ok(secrets)
}

/// Runs the demo until `shutdown`.
///
/// # Errors
/// As [`start`], or when the demo sale cannot be made.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), Failure> {
    let running = start(&settings, shutdown.clone()).await?;
    let admin_token = settings.secret("SECKILL_ADMIN_TOKEN")?;
    let admin = HttpClient::new(&format!("http://{}", running.admin), Some(&admin_token));
    let greeted = tokio::select! {
        made = make_sale(&admin) => made.map(|sale| greet(&running, &sale, admin_token.expose())),
        () = shutdown.cancelled() => Ok(()),
    };
    if let Err(why) = greeted {
        shutdown.cancel();
        running.stopped().await?;
        return Err(why);
    }
    running.stopped().await
}

/// Waits until the platform is ready and announces a sale: the first name that is not taken.
async fn make_sale(admin: &HttpClient) -> Result<SaleId, Failure> {
    wait_until_ready(admin).await?;
    for n in 1..=SALES_MAX {
        let name = if n == 1 { "aurora".to_owned() } else { format!("aurora-{n}") };
        let now = SystemClock.now();
        let sale = NewSale {
            id: name.parse().ok(),
            title: "Aurora wireless headphones".into(),
            price_cents: 12_900,
            currency: "EUR".into(),
            stock: 20,
            per_user_limit: 2,
            opens_at: now.plus(OPENS_IN_S * 1_000).0,
            ends_at: now.plus((OPENS_IN_S + LASTS_S) * 1_000).0,
            pay_within_s: 90,
            rules: None,
        };
        match admin.call::<_, AdminSale>(hyper::Method::POST, "/admin/v1/sales", &sale).await {
            Ok(made) => return Ok(made.sale.id),
            Err(e) if e.code() == Some(Code::Conflict) => {}
            Err(e) => return Err(Failure::failed(format_args!("the demo sale could not be made: {e}"))),
        }
    }
    Err(Failure::failed(format_args!("there are {SALES_MAX} demo sales in the data folder already")))
}

async fn wait_until_ready(admin: &HttpClient) -> Result<(), Failure> {
    let asked = async {
        loop {
            let reply: Result<serde_json::Value, ClientError> = admin.get("/readyz").await;
            if reply.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(READY_POLL_MS)).await;
        }
    };
    tokio::time::timeout(Duration::from_millis(READY_WAIT_MS_MAX), asked)
        .await
        .map_err(|_| Failure::failed("the platform did not become ready in time; see the log above"))
}

#[expect(clippy::print_stdout, reason = "the demo speaks to the person who started it")]
fn greet(running: &Running, sale: &SaleId, admin_token: &str) {
    let (public, admin) = (running.public, running.admin);
    println!(
        "
  The flash sale is on.

    the sale       http://{public}/s/{sale}
                   opens in {OPENS_IN_S} seconds; sign in with any name and be quick
    all sales      http://{public}/
    operators      http://{admin}/admin/v1/sales
                   Authorization: Bearer {admin_token}
    health         http://{admin}/readyz    metrics  http://{admin}/metrics

  Storm it:        cargo run --release -p loadtest -- spike --against http://{public} \\
                     --admin http://{admin} --admin-token {admin_token}

  Everything is kept in ./data. Ctrl-C finishes what is under way and stops.
"
    );
}
