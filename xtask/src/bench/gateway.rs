//! `cargo xtask bench gateway`: the refusals and the gate document of this gateway, beside a bare axum handler,
//! nginx with Lua doing the same look-up, and nginx answering a constant; all under wrk, in turns.

mod nginx;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::wrk::{self, Load, Request};
use crate::http::bearer;
use crate::platform::Platform;
use crate::process::Owned;
use crate::run::{Outcome, release, release_examples, to_end, wait_for};
use crate::subject::{Subject, token};
use nginx::Nginx;

/// Rounds; their median counts.
const ROUNDS: usize = 7;
/// Length of one run of wrk, in seconds.
const WRK_S: u32 = 3;
/// The body of every order: what is refused need not be good.
const ORDER: &str = r#"{"ticket":"t","quantity":1}"#;

pub(super) fn run() -> Outcome {
    if !wrk::is_there() {
        return Err("please install: wrk".into());
    }
    let folder = release()?;
    let examples = release_examples(&["gateway"])?;
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut platform = Platform::new(&folder.join("seckill"), &home.path().join("data"))?;
    platform.start()?;
    platform.ready()?;
    let buy = sold_out_sale(&folder, &platform)?;
    let open = open_sale(&platform)?;
    let (bare, bare_port) = bare_axum(&examples)?;
    let slug = buy.rsplit('/').next().unwrap_or_default();
    let gate = crate::http::get(platform.port, "/api/v1/sales/gone/gate", "")?;
    let nginx = Nginx::start(home.path(), slug, crate::http::body_of(&gate))?;
    if nginx.is_none() {
        println!("nginx with its Lua module is not installed: left out");
    }
    let token = bearer(&token(&folder, "eager")?);
    println!("machine: {}", super::machine());
    println!("{ROUNDS} rounds of {WRK_S} s each, in turns; 64 connections; median (lowest to highest)");

    let json = ("content-type", "application/json");
    let ours = Server { name: "this gateway", port: platform.port, pid: platform.pid().unwrap_or(0) };
    let bare = Server { name: "bare axum handler", port: bare_port, pid: bare.pid() };
    let lua = nginx.as_ref().map(|n| Server { name: "nginx + Lua", port: n.lua, pid: n.pid() });
    let plain = nginx.as_ref().map(|n| Server { name: "nginx return", port: n.plain, pid: n.pid() });

    let headers = [json, ("authorization", "Bearer x")];
    let refusal = Request::refused(home.path(), "refusal", &format!("{buy}/orders"), ORDER, &headers)?;
    let rivals = [(Some(&bare), &refusal), (lua.as_ref(), &refusal), (plain.as_ref(), &refusal)];
    table("sold-out refusal", (&ours, &refusal), &rivals)?;

    let gate = Request::get(home.path(), "gate", "/api/v1/sales/gone/gate")?;
    let rivals = [(lua.as_ref(), &gate), (plain.as_ref(), &gate)];
    table("gate document", (&ours, &gate), &rivals)?;

    let headers = [json, ("authorization", token.as_str())];
    let limited = Request::refused(home.path(), "limited", &format!("{open}/tickets"), "{}", &headers)?;
    table("rate-limited refusal, token checked", (&ours, &limited), &[(Some(&bare), &limited)])
}

/// One of the servers.
struct Server {
    name: &'static str,
    port: u16,
    pid: u32,
}

type Asked<'a> = (Option<&'a Server>, &'a Request);

/// Measures all of them in turns, and prints a line each: the rate, this gateway's rate beside it round by
/// round, and the processor time of a request.
fn table(title: &str, ours: (&Server, &Request), rivals: &[Asked<'_>]) -> Outcome {
    let rivals: Vec<(&Server, &Request)> = rivals.iter().filter_map(|(s, r)| Some(((*s)?, *r))).collect();
    let all: Vec<(&Server, &Request)> = std::iter::once(ours).chain(rivals).collect();
    let mut loads: Vec<Vec<Load>> = vec![Vec::new(); all.len()];
    // Each round begins with another one: whoever always came after the same neighbour would bear its traces.
    for round in 0..ROUNDS {
        for turn in 0..all.len() {
            let n = (round + turn) % all.len();
            let (server, request) = all[n];
            loads[n].push(wrk::play(request, WRK_S, server.port, server.pid)?);
        }
    }
    println!("\n{title:<38} {:>27} {:>24}  CPU us", "requests/s", "this gateway : it");
    for ((server, _), its) in all.iter().zip(&loads) {
        let mut rates: Vec<f64> = its.iter().map(|l| l.rate).collect();
        let mut ratios: Vec<f64> = loads[0].iter().zip(its).map(|(a, b)| a.rate / b.rate).collect();
        let mut cpu: Vec<f64> = its.iter().map(|l| l.cpu_us).collect();
        let ratio = if server.name == ours.0.name { String::new() } else { wrk::spread(&mut ratios, 2) };
        let (rate, cpu) = (wrk::spread(&mut rates, 0), wrk::spread(&mut cpu, 1));
        println!("  {:<36} {rate:>27} {ratio:>24}  {cpu}", server.name);
    }
    Ok(())
}

/// A sale whose only unit is taken; answers its buy path.
pub(super) fn sold_out_sale(folder: &Path, platform: &Platform) -> Outcome<String> {
    let buy = new_sale(platform, "gone", 1)?;
    let mut storm = Command::new(folder.join("loadtest"));
    storm.args(["storm", "--sale", "gone", "--duration", "2", "--buyers", "50", "--no-verdict"]);
    to_end(storm.args(platform.target_arguments()).stdout(Stdio::null()))?;
    wait_for("the sale selling out", Duration::from_secs(10), || {
        platform.admin_get("/admin/v1/sales/gone").is_ok_and(|s| s["state"] == "sold_out")
    })?;
    Ok(buy)
}

/// A sale that has units; answers its buy path.
fn open_sale(platform: &Platform) -> Outcome<String> {
    new_sale(platform, "open", 1_000)
}

/// An open sale with so many units; answers its buy path.
pub(crate) fn new_sale(platform: &Platform, id: &str, stock: u32) -> Outcome<String> {
    let sale = json!({"id": id, "title": id, "price_cents": 100, "currency": "EUR", "stock": stock,
        "per_user_limit": 1, "opens_at": 0, "ends_at": 9_999_999_999_999_i64, "pay_within_s": 3600});
    let made = platform.admin_post("/admin/v1/sales", &sale)?;
    let buy = made["buy"].as_str().ok_or("the new sale has no buy path")?.to_owned();
    wait_for("the sale opening", Duration::from_secs(10), || {
        let gate = platform.public_get(&format!("/api/v1/sales/{id}/gate"));
        gate.is_ok_and(|gate| gate["state"] == "open")
    })?;
    Ok(buy)
}

/// The baseline: an axum handler that answers the same refusal without looking at the request.
pub(super) fn bare_axum(examples: &Path) -> Outcome<(Owned, u16)> {
    let mut command = Command::new(examples.join("bare_axum"));
    command.stdout(Stdio::piped());
    let mut owned = Owned::start(command)?;
    let out = owned.output().ok_or("bare_axum has no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).map_err(|e| e.to_string())?;
    let port = line.trim().parse().map_err(|e| format!("bare_axum said {line:?}: {e}"))?;
    Ok((owned, port))
}
