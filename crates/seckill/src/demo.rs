//! `seckill demo`: the platform with everything filled in, and a sale that opens in half a minute.

use std::fs;
use std::io::{self, Write as _};
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

/// What a demo may leave unset, and what it then is. The ledger's file follows from the data folder.
const FILLED_IN: [(&str, &str); 4] = [
    ("SECKILL_STOCK_URL", "memory:"),
    ("SECKILL_QUEUE_URL", "embedded:"),
    ("SECKILL_DEMO", "true"),
    ("SECKILL_LOG", "warn"),
];
/// The ledger's file in the data folder.
const LEDGER_FILE: &str = "seckill.db";
/// What operators did, in the data folder.
const AUDIT_FILE: &str = "audit.jsonl";
/// The drawn secrets' file in the data folder.
const SECRETS_FILE: &str = "demo-secrets.env";

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
    if !given("SECKILL_DATABASE_URL") {
        let ledger = format!("sqlite:{}", data.join(LEDGER_FILE).display());
        settings = settings.with("SECKILL_DATABASE_URL", ledger);
    }
    if !given("SECKILL_AUDIT_FILE") {
        settings = settings.with("SECKILL_AUDIT_FILE", data.join(AUDIT_FILE).display().to_string());
    }
    for (name, secret) in kept_secrets(&data.join(SECRETS_FILE))? {
        if !given(&name) {
            settings = settings.with(&name, secret);
        }
    }
    Ok(settings)
}

/// Reads the secrets; draws those that are missing, and keeps all of them.
fn kept_secrets(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let failed = |e: io::Error| Failure::failed(format_args!("{}: {e}", path.display()));
    let kept = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(failed(e)),
    };
    let kept: Vec<(&str, &str)> = kept.lines().filter_map(|line| line.split_once('=')).collect();
    let mut secrets = Vec::with_capacity(DRAWN.len());
    let mut drew = false;
    for (name, prefix, bytes) in DRAWN {
        let secret = match kept.iter().find(|(n, secret)| *n == name && !secret.is_empty()) {
            Some((_, secret)) => (*secret).to_owned(),
            None => {
                drew = true;
                let mut random = vec![0; bytes];
                getrandom::fill(&mut random).map_err(Failure::failed)?;
                format!("{prefix}{}", hex::encode(random))
            }
        };
        secrets.push((name.to_owned(), secret));
    }
    if drew {
        keep_secrets(path, &secrets).map_err(failed)?;
    }
    Ok(secrets)
}

/// Writes the secrets, readable by their owner only: all of them or, if that fails half-way, none.
fn keep_secrets(path: &Path, secrets: &[(String, String)]) -> io::Result<()> {
    let unfinished = path.with_extension("env.new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    for (name, secret) in secrets {
        writeln!(file, "{name}={secret}")?;
    }
    file.sync_all()?;
    fs::rename(unfinished, path)
}

/// Runs the demo until `shutdown`.
///
/// # Errors
/// As [`start`], or when the demo sale cannot be made.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), Failure> {
    let running = start(&settings, shutdown.clone()).await?;
    let admin_token = settings.secret("SECKILL_ADMIN_TOKEN")?;
    let data = parts::data_dir(&settings)?;
    let admin = HttpClient::new(&format!("http://{}", running.admin), Some(&admin_token));
    let greeted = tokio::select! {
        made = make_sale(&admin) => made.map(|sale| greet(&running, &sale, admin_token.expose(), &data)),
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
fn greet(running: &Running, sale: &SaleId, admin_token: &str, data: &Path) {
    let (public, admin, data) = (running.public, running.admin, data.display());
    println!(
        "
  The flash sale opens in {OPENS_IN_S} seconds.

    the sale       http://{public}/s/{sale}
                   sign in with any name and be quick
    all sales      http://{public}/
    operators      http://{admin}/admin/v1/sales
                   Authorization: Bearer {admin_token}
    health         http://{admin}/readyz    metrics  http://{admin}/metrics

  Storm it, from this folder:
                   cargo run --release -p loadtest -- spike --against http://{public} --admin http://{admin}

  Everything is kept in {data}. Ctrl-C finishes what is under way and stops.
"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(data: &Path) -> Settings {
        settings([("SECKILL_DATA_DIR".to_owned(), data.display().to_string())]).unwrap()
    }

    #[test]
    fn all_that_a_demo_keeps_is_in_its_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = of(folder.path());
        let expected = format!("sqlite:{}", folder.path().join(LEDGER_FILE).display());
        assert_eq!(ledger.required("SECKILL_DATABASE_URL").unwrap(), expected);
        let elsewhere = [
            ("SECKILL_DATA_DIR".to_owned(), folder.path().display().to_string()),
            ("SECKILL_DATABASE_URL".to_owned(), "sqlite:/elsewhere.db".to_owned()),
        ];
        let told = settings(elsewhere).unwrap();
        assert_eq!(told.required("SECKILL_DATABASE_URL").unwrap(), "sqlite:/elsewhere.db");
    }

    #[test]
    fn secrets_are_drawn_once_and_a_torn_file_is_made_whole() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = |settings: &Settings| -> Vec<String> {
            DRAWN.iter().map(|(name, ..)| settings.required(name).unwrap().to_owned()).collect()
        };
        let first = secrets(&of(folder.path()));
        assert_eq!(secrets(&of(folder.path())), first, "a restarted demo knows its buyers");
        let path = folder.path().join(SECRETS_FILE);
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let whole = fs::read_to_string(&path).unwrap();
        let cut = whole.lines().take(2).collect::<Vec<_>>().join("\n");
        fs::write(&path, cut + "\nSECKILL_ADMIN_TOKEN=").unwrap();
        let mended = secrets(&of(folder.path()));
        assert_eq!(mended[..2], first[..2], "what is there is kept");
        assert!(mended.iter().all(|secret| secret.len() >= 32));
        assert_eq!(secrets(&of(folder.path())), mended);
    }
}
