//! `cargo xtask api`: schemathesis plays the API's own document against a running platform. Twice: with names it
//! makes up, and with sales, a buy path and an order that exist.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::{Value, json};

use crate::bench::new_sale;
use crate::http::{bearer, exchange, json_of};
use crate::platform::Platform;
use crate::run::{Outcome, is_there, release, to_end};
use crate::subject::{ADMIN_TOKEN, Subject, token};

/// What every answer is held to: no 5xx, a documented status, media type, headers and body.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";
/// Streams do not end by themselves: their first answers are the tests' affair.
const STREAMS: &str = "events$";
/// Who plays.
const BUYER: &str = "alice";

/// `cargo xtask api`.
#[derive(Args)]
pub(crate) struct Options {
    /// Cases an operation in each of the two runs.
    #[arg(long, default_value_t = 200)]
    cases: u32,
}

/// Plays both runs; an answer that is not as documented is an error.
pub(crate) fn run(options: &Options) -> Outcome {
    if !is_there("schemathesis") {
        return Err("please install: schemathesis (pip install schemathesis)".into());
    }
    let folder = release()?;
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut platform = Platform::new(&folder.join("seckill"), &home.path().join("data"))?;
    // One buyer asks everything: most of it would be answered by a limit.
    platform.set("SECKILL_BUYER_LIMIT", "off");
    platform.set("SECKILL_BROWSE_LIMIT", "off");
    platform.start()?;
    platform.ready()?;
    let token = token(&folder, BUYER)?;
    // In a file, not on the command line: that is printed when something fails.
    let signed = format!("headers = {{ Authorization = \"{}\" }}\n", bearer(&token));
    play(home.path(), &platform, options.cases, &signed)?;
    let named = signed + &names(&platform, &token)?;
    play(home.path(), &platform, options.cases, &named)
}

/// Plays in this folder: schemathesis leaves what it remembers where it runs.
fn play(home: &Path, platform: &Platform, cases: u32, config: &str) -> Outcome {
    let file = home.join("schemathesis.toml");
    std::fs::write(&file, config).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut command = Command::new("schemathesis");
    command.current_dir(home).arg("--config-file").arg(&file);
    command.arg("run").arg(format!("http://127.0.0.1:{}/api/openapi.json", platform.port));
    command.args(["--checks", CHECKS, "--exclude-path-regex", STREAMS, "--no-color"]);
    command.args(["--max-examples", &cases.to_string()]);
    to_end(command.stdin(Stdio::null()))
}

/// Names that exist, as schemathesis is told them: a plain sale, one with a waiting room, one that asks for a
/// proof, an order of the buyer's.
fn names(platform: &Platform, token: &str) -> Outcome<String> {
    let plain = new_sale(platform, "plain", 10_000)?;
    let (room, proof) = (new_sale(platform, "room", 100)?, new_sale(platform, "proof", 100)?);
    for (sale, rules) in [
        ("room", json!({"waiting_room": {"capacity": 10, "admit_per_s": 2}})),
        ("proof", json!({"proof_bits": 8, "captcha": true})),
    ] {
        let change = json!({ "rules": rules }).to_string();
        let path = format!("/admin/v1/sales/{sale}");
        json_of(&exchange(platform.admin_port, "PATCH", &path, &bearer(ADMIN_TOKEN), &change)?)?;
    }
    let post = |path: &str, body: &Value| -> Outcome<Value> {
        json_of(&exchange(platform.port, "POST", path, &bearer(token), &body.to_string())?)
    };
    let ticket = post(&format!("{plain}/tickets"), &json!({}))?;
    let order = post(&format!("{plain}/orders"), &json!({"ticket": ticket["ticket"], "quantity": 1}))?;
    let slug = |buy: &str| buy.rsplit('/').next().unwrap_or_default().to_owned();
    let mut text = String::new();
    let lists = [
        ("sale", vec!["plain".to_owned(), "room".into(), "proof".into()]),
        ("slug", vec![slug(&plain), slug(&room), slug(&proof)]),
        ("id", vec![order["order_id"].as_str().unwrap_or_default().to_owned()]),
        ("path", vec!["icon.svg".into()]),
    ];
    for (name, values) in lists {
        let _ = writeln!(text, "[dictionaries.{name}]\nvalues = {}", json!(values));
    }
    text.push_str("[parameters]\n");
    for name in ["sale", "slug", "id", "path"] {
        let _ = writeln!(text, "\"path.{name}\" = {{ dictionary = \"{name}\" }}");
    }
    Ok(text)
}
