//! Faults of what the payment provider says, played beside the storm: payments, cancels and expiry race for a
//! few hundred orders at their deadline, and the races' own verdict decides.

use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::engines;
use super::evidence::Effect;
use super::run::{BROKEN, broken_promises, json};
use super::scene::Scene;
use crate::process::{Home, Owned, leashed};
use crate::proxy::{From, Mood, Proxy};
use crate::run::{Outcome, pause, release, wait_for};
use crate::subject::{Subject, WEBHOOK_SECRET};

/// Orders that are raced.
const ORDERS: &str = "300";
/// Reports of each capture.
const COPIES: &str = "10";
/// Seconds to pay, and milliseconds around that deadline in which everybody acts.
const PAY_WITHIN_S: &str = "3";
const JITTER_MS: &str = "1000";
/// Share of each kind of winner: beside a storm cancels are often late, but some of each kind there must be.
const WINNER_PERCENT: &str = "1";
/// Where they write what they found and what they say, in a folder of their own.
const RESULT: &str = "races.json";
const WORDS: &str = "races.txt";
/// How the line begins that names their sale, and how long that may take to open.
const SALE: &str = "races on sale ";
const OPEN_S_MAX: Duration = Duration::from_secs(30);
/// For so long what the provider says is lost, from before the first payment; then, what it is answered.
const UNHEARD: Duration = Duration::from_secs(6);
const UNANSWERED: Duration = Duration::from_secs(2);
/// For an outage in the midst of the payments they are spread wider around a later deadline, and it comes so long after
/// their sale has opened.
const WIDER: [&str; 4] = ["--pay-within-s", "5", "--jitter-ms", "2000"];
const UNTIL_OUTAGE: Duration = Duration::from_secs(6);

/// Every capture is reported ten times, in any order, with failures in between.
pub(super) fn webhooks_repeated(scene: &mut Scene<'_>) -> Outcome {
    let told = Races::begin(scene, &["--webhook-copies", COPIES])?.end()?;
    note_repeats(scene, &told);
    Ok(())
}

/// Notes how many reports that repeat a capture were taken, as the races count them.
fn note_repeats(scene: &mut Scene<'_>, told: &Value) {
    let again = told["extra"]["captures_reported_again"].as_f64().unwrap_or(0.0);
    scene.note(Effect::ReportedAgain, again);
}

/// Webhooks are lost, then their answers are; the provider says it again.
pub(super) fn webhooks_lost(scene: &mut Scene<'_>) -> Outcome {
    let way = Proxy::to(&scene.stack.buyers_ports())?;
    let url = format!("http://127.0.0.1:{}", way.port());
    way.be(Mood::Swallow(From::Client));
    let races = Races::begin(scene, &["--webhooks-by", &url])?;
    pause(UNHEARD);
    let unheard = way.swallowed();
    way.be(Mood::Swallow(From::Server));
    pause(UNANSWERED);
    let unanswered = way.swallowed() - unheard;
    way.be(Mood::Fine);
    races.end()?;
    println!("   {unheard} bytes of webhooks were lost, and {unanswered} of their answers");
    if unheard > 0 && unanswered > 0 {
        scene.note(Effect::WebhooksLost, (unheard + unanswered) as f64);
    }
    Ok(())
}

/// The ledger is killed and comes back while captures are reported.
pub(super) fn through_outage(scene: &mut Scene<'_>) -> Outcome {
    let harder = [&["--webhook-copies", COPIES][..], &WIDER[..]].concat();
    let races = Races::begin(scene, &harder)?;
    races.opened(scene)?;
    pause(UNTIL_OUTAGE);
    engines::postgres_killed(scene)?;
    let told = races.end()?;
    note_repeats(scene, &told);
    Ok(())
}

/// The races, under way.
pub(super) struct Races {
    played: Owned,
    home: Home,
}

impl Races {
    pub(super) fn begin(scene: &mut Scene<'_>, more: &[&str]) -> Outcome<Self> {
        let (home, seed) = (Home::new()?, scene.below(1_000_000).to_string());
        let mut races = leashed(&release()?.join("loadtest"), None)?;
        races.args(["races", "--webhook-secret", WEBHOOK_SECRET, "--orders", ORDERS, "--seed", &seed]);
        races.args(["--pay-within-s", PAY_WITHIN_S, "--jitter-ms", JITTER_MS]);
        races.args(["--winner-percent", WINNER_PERCENT]).args(more);
        races.arg("--json").arg(home.path().join(RESULT)).args(scene.stack.target_arguments());
        let words = File::create(home.path().join(WORDS)).map_err(|e| format!("{WORDS}: {e}"))?;
        races.stdin(Stdio::null()).stdout(words);
        Ok(Self { played: Owned::start(races)?, home })
    }

    /// Waits until their sale is open: from then on nothing of them needs inventory before they end.
    pub(super) fn opened(&self, scene: &Scene<'_>) -> Outcome {
        let is_open = |sale: &str| {
            let gate = scene.stack.public_get(&format!("/api/v1/sales/{sale}/gate"));
            gate.is_ok_and(|gate| matches!(gate["state"].as_str(), Some("open" | "sold_out")))
        };
        let opened = wait_for("the races' sale opening", OPEN_S_MAX, || {
            let words = fs::read_to_string(self.home.path().join(WORDS)).unwrap_or_default();
            let named = words.lines().find_map(|line| line.strip_prefix(SALE)?.split(':').next());
            named.is_some_and(is_open)
        });
        opened.map(|_| ())
    }

    /// Waits for their end; what they tell.
    pub(super) fn end(mut self) -> Outcome<Value> {
        let status = self.played.wait()?;
        let result = self.home.path().join(RESULT);
        if status.success() {
            return json(&result);
        }
        // Only a verdict breaks promises: races that did not come off have none.
        Err(match broken_promises(&result) {
            none if none.is_empty() => format!("the races ended with {status}, without a verdict"),
            broken => format!("{BROKEN}{broken} (the races ended with {status})"),
        })
    }
}
