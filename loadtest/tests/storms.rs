//! Whole storms against a fake platform: an honest one passes, every lie is found.

mod common;
mod fake;

use common::{Run, run};
use fake::{Fake, Lie};

const SECRET: [&str; 2] = ["--jwt-secret", "s"];

fn storm(fake: &Fake, more: &[&str]) -> Run {
    let mut args = vec!["--open-in-s", "1", "--stock", "200", "--buyers", "600", "--duration", "30"];
    args.extend(SECRET);
    args.extend(more);
    run("storm", &fake.url(), &args)
}

#[test]
fn an_honest_platform_passes_a_closed_storm() {
    let fake = Fake::start(Lie::None);
    let run = storm(&fake, &["--connections", "16"]);
    run.passed();
    assert_eq!(run.json["answers"]["accepted"], 200);
    assert_eq!(run.json["answers"]["soldout"], 400);
    assert_eq!(run.json["latency_us"]["click"]["count"], 200);
    assert!(run.json["rates"]["committed_rows_per_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn an_open_storm_arrives_at_its_rate() {
    let fake = Fake::start(Lie::None);
    let run = storm(&fake, &["--rate", "400", "--threads", "2"]);
    run.passed();
    let seconds = run.json["rates"]["seconds"].as_f64().unwrap();
    assert!(seconds >= 600.0 / 400.0 - 0.05, "600 buyers at 400 a second took {seconds}");
}

#[test]
fn mixed_quantities_leave_no_unit() {
    let fake = Fake::start(Lie::None);
    let run = storm(&fake, &["--quantity", "1,2,3", "--per-user-limit", "3", "--stock", "199"]);
    run.passed();
}

#[test]
fn who_comes_back_for_more_is_refused_and_wanted_nothing_that_could_be_sold() {
    let again = ["--again-percent", "20", "--stock", "1000", "--connections", "16"];
    let fake = Fake::start(Lie::None);
    let run = storm(&fake, &again);
    run.passed();
    let answers = |kind: &str| run.json["answers"][kind].as_u64().unwrap();
    assert!(answers("limit") > 0, "{}", run.text);
    assert_eq!(answers("accepted") + answers("limit"), 600, "{}", run.text);
    let fake = Fake::start(Lie::IgnoresLimit);
    storm(&fake, &again).failed_on("no buyer above the limit");
}

#[test]
fn demo_logins_serve_where_there_is_no_secret() {
    let fake = Fake::start(Lie::None);
    run("storm", &fake.url(), &["--open-in-s", "1", "--stock", "5", "--buyers", "20"]).passed();
}

#[test]
fn a_busy_platform_is_retried_with_the_same_ticket() {
    let fake = Fake::start(Lie::Busy);
    let run = storm(&fake, &["--connections", "128", "--buyers", "400"]);
    run.passed();
    for kind in ["limited", "busy", "broken"] {
        assert!(run.json["answers"][kind].as_u64().unwrap() > 0, "{kind}: {}", run.text);
    }
    assert_eq!(run.json["answers"]["accepted"], 200);
}

#[test]
fn a_platform_that_loses_orders_fails() {
    let fake = Fake::start(Lie::LosesOrders);
    storm(&fake, &[]).failed_on("never lose what was accepted");
}

#[test]
fn a_platform_that_oversells_fails() {
    let fake = Fake::start(Lie::Oversells);
    storm(&fake, &[]).failed_on("never oversell");
}

#[test]
fn a_platform_that_strands_a_unit_fails() {
    let fake = Fake::start(Lie::StrandsUnit);
    storm(&fake, &[]).failed_on("sold = min(stock, demand)");
}

#[test]
fn a_platform_that_turns_honest_buyers_away_fails() {
    for lie in [Lie::TurnsAway, Lie::InventsLimits] {
        let fake = Fake::start(lie);
        storm(&fake, &["--buyers", "150"]).failed_on("nobody is refused without a reason");
    }
}

#[test]
fn nothing_tested_is_a_failure_and_no_platform_is_no_verdict() {
    let fake = Fake::start(Lie::None);
    storm(&fake, &["--buyers", "0"]).failed_on("something was tested");
    let run = run("verdict", &fake.url(), &["--journal", "/nonexistent/journal"]);
    assert_eq!(run.code, 2, "{}", run.text);
}

#[test]
fn a_journal_is_judged_after_the_run() {
    let fake = Fake::start(Lie::None);
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal").display().to_string();
    let run_only = storm(&fake, &["--journal", &journal, "--no-verdict"]);
    assert_eq!((run_only.code, &run_only.json["passed"]), (0, &serde_json::Value::Null));
    let judge =
        || run("verdict", &fake.url(), &["--journal", &journal, "--jwt-secret", "s", "--drain-s", "2"]);
    judge().passed();
    fake.forget_an_order();
    judge().failed_on("never lose what was accepted");
}

#[test]
fn a_spike_of_whole_buyers_passes_and_sells_what_came_back() {
    let fake = Fake::start(Lie::None);
    let mut args = vec!["--open-in-s", "1", "--stock", "100", "--buyers", "500", "--users", "40"];
    args.extend(["--cancel-percent", "60", "--pay-percent", "30"]);
    args.extend(SECRET);
    let run = run("spike", &fake.url(), &args);
    run.passed();
    assert!(run.json["answers"]["again"].as_u64().unwrap() > 0, "{}", run.text);
    assert!(run.json["answers"]["accepted"].as_u64().unwrap() >= 100, "{}", run.text);
    assert!(run.json["extra"]["orders_paid"].as_u64().unwrap() > 0, "{}", run.text);
    assert!(run.json["extra"]["orders_cancelled"].as_u64().unwrap() > 0, "{}", run.text);
}

#[test]
fn payments_that_never_count_fail_the_spike() {
    let fake = Fake::start(Lie::LosesPayments);
    let mut args = vec!["--open-in-s", "1", "--stock", "50", "--buyers", "60", "--users", "20"];
    args.extend(["--pay-percent", "60", "--drain-s", "2"]);
    args.extend(SECRET);
    run("spike", &fake.url(), &args).failed_on("what was paid counts");
}

#[test]
fn two_orders_on_one_ticket_fail_the_spike() {
    let fake = Fake::start(Lie::TwoOrdersPerTicket);
    let mut args = vec!["--open-in-s", "1", "--stock", "100", "--buyers", "200", "--users", "20"];
    args.extend(["--per-user-limit", "5", "--double-click-percent", "100"]);
    args.extend(SECRET);
    run("spike", &fake.url(), &args).failed_on("one ticket, one order");
}

#[test]
fn buyers_at_their_limit_pass_and_above_it_fail() {
    let fake = Fake::start(Lie::None);
    let args = ["--stock", "101", "--buyers", "60", "--jwt-secret", "s"];
    run("buyers-limit", &fake.url(), &args).passed();
    let fake = Fake::start(Lie::IgnoresLimit);
    let run = run("buyers-limit", &fake.url(), &args);
    run.failed_on("no buyer above the limit");
    run.failed_on("and not one unit more");
}

fn races(lie: Lie) -> Run {
    let fake = Fake::start(lie);
    let mut args = vec!["--orders", "200", "--pay-within-s", "2", "--drain-s", "3"];
    args.extend(["--webhook-secret", fake::WEBHOOK_SECRET]);
    args.extend(SECRET);
    run("races", &fake.url(), &args)
}

#[test]
fn honest_races_pass() {
    races(Lie::None).passed();
}

#[test]
fn money_kept_or_paid_back_twice_fails_the_races() {
    races(Lie::RefundsTwice).failed_on("a capture is a paid order or one refund");
    races(Lie::KeepsMoney).failed_on("money balances to zero");
}
