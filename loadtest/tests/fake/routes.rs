//! The fake platform's routes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract::{Code, Problem};
use hmac::{Hmac, KeyInit, Mac};
use hyper::http::request::Parts;
use serde_json::{Value, json};

use super::market::{Market, Money, Order, Refusal, Sale, now_ms};
use super::{Lie, WEBHOOK_SECRET};

type Reply = (u16, Value);

fn problem(code: Code) -> Reply {
    (code.status(), serde_json::to_value(Problem::new(code, "no")).unwrap())
}

/// The answer; none hangs up.
pub(crate) fn reply(market: &mut Market, parts: &Parts, body: &[u8]) -> Option<Reply> {
    market.requests += 1;
    let path: Vec<&str> = parts.uri.path().split('/').filter(|s| !s.is_empty()).collect();
    let buying = path.starts_with(&["api", "v1", "buy"]);
    let busy = market.lie == Lie::Busy && buying;
    if busy && market.requests.is_multiple_of(23) {
        return Some(problem(Code::RateLimited));
    }
    let answer = match (parts.method.as_str(), path.as_slice()) {
        (_, ["admin", "v1", rest @ ..]) => admin(market, parts, rest, body),
        ("GET", ["api", "v1", "sales", sale, "gate"]) => gate(market, sale),
        ("POST", ["api", "v1", "demo", "login"]) => login(body),
        ("POST", ["api", "v1", "payments", "webhook"]) => webhook(market, parts, body),
        ("POST", ["sandbox", order, reference]) if body == b"action=succeed" => {
            if market.lie != Lie::LosesPayments {
                market.capture(order, reference);
            }
            (200, json!({}))
        }
        (_, ["api", "v1", "buy", sale, step]) => match buyer(parts) {
            Some(buyer) => buy(market, sale, step, &buyer, body),
            None => problem(Code::Unauthenticated),
        },
        (method, ["api", "v1", "orders", id, rest @ ..]) => match buyer(parts) {
            Some(buyer) => order(market, method, id, rest, &buyer, parts),
            None => problem(Code::Unauthenticated),
        },
        _ => problem(Code::NotFound),
    };
    // After the effect: the client cannot know, and must find out by retrying.
    if busy && market.requests.is_multiple_of(17) {
        return Some(problem(Code::Unavailable));
    }
    (!(busy && market.requests.is_multiple_of(29))).then_some(answer)
}

fn buyer(parts: &Parts) -> Option<String> {
    let token = parts.headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    (claims["exp"].as_i64()? > now_ms() / 1000).then(|| claims["sub"].as_str().unwrap().to_owned())
}

fn login(body: &[u8]) -> Reply {
    let login: Value = serde_json::from_slice(body).unwrap();
    let claims = json!({"sub": login["user"], "exp": now_ms() / 1000 + 60});
    (200, json!({"token": format!("x.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string()))}))
}

fn admin(market: &mut Market, parts: &Parts, rest: &[&str], body: &[u8]) -> Reply {
    if parts.headers.get("authorization").is_none_or(|v| v != "Bearer admin") {
        return problem(Code::Unauthenticated);
    }
    market.expire_all();
    match (parts.method.as_str(), rest) {
        ("POST", ["sales"]) => {
            let terms: contract::api::NewSale = serde_json::from_slice(body).unwrap();
            let id = format!("sale-{}", market.sales.len());
            market.sales.insert(id.clone(), Sale { terms, taken: 0, held: Default::default() });
            (201, sale(market, &id))
        }
        ("GET", ["sales", id]) if market.sales.contains_key(*id) => (200, sale(market, id)),
        ("GET", ["sales", id, "ledger"]) if market.sales.contains_key(*id) => (200, ledger(market, id)),
        ("GET", ["audit"]) => (200, json!({"ok": true, "findings": []})),
        ("GET", ["orders", id]) => match market.order(id) {
            Some(order) => (200, admin_order(order)),
            None => problem(Code::OrderNotFound),
        },
        _ => problem(Code::NotFound),
    }
}

fn sale(market: &Market, id: &str) -> Value {
    let mut value = serde_json::to_value(&market.sales[id].terms).unwrap();
    let more =
        json!({"id": id, "state": "open", "buy": format!("/api/v1/buy/{id}"), "epoch": 1, "created_at": 1});
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

/// The fake's own books always balance: whoever lies, lies here too.
fn ledger(market: &Market, id: &str) -> Value {
    let total = market.sales[id].terms.stock;
    let taken =
        if market.lie == Lie::Oversells { total.min(market.live_units(id)) } else { market.live_units(id) };
    let count = |status| market.orders.values().filter(|o| o.sale == id && o.status == status).count();
    json!({
        "total": total, "epoch": 1, "queued": 0, "consistent": true,
        "stock_store": {"free": total - taken, "reserved": 0, "settled": taken},
        "order_store": {"taken": taken, "pending_payment": count("pending_payment"), "paid": count("paid"),
            "cancelled": count("cancelled"), "expired": count("expired"), "rejected": 0, "refunded": 0},
    })
}

fn gate(market: &Market, id: &str) -> Reply {
    let Some(sale) = market.sales.get(id) else { return problem(Code::SaleNotFound) };
    let (now, opens_at) = (now_ms(), sale.terms.opens_at);
    let mut gate = json!({"sale": id, "state": "upcoming", "now": now, "opens_at": opens_at, "ends_at": sale.terms.ends_at});
    if now >= opens_at {
        gate["state"] = if market.free(id) > 0 { "open" } else { "sold_out" }.into();
        gate["buy"] = format!("/api/v1/buy/{id}").into();
    }
    (200, gate)
}

fn buy(market: &mut Market, sale: &str, step: &str, buyer: &str, body: &[u8]) -> Reply {
    if step == "tickets" {
        if market.lie == Lie::TurnsAway && !market.requests.is_multiple_of(10) {
            return problem(Code::Unauthenticated);
        }
        if market.free(sale) == 0 {
            return problem(Code::SoldOut);
        }
        let id = market.mint();
        return (
            200,
            json!({"ticket": format!("{id}.{buyer}"), "order_id": id, "expires_at": now_ms() + 60_000}),
        );
    }
    let order: contract::api::PlaceOrder = serde_json::from_slice(body).unwrap();
    let Some((id, ticketed)) = order.ticket.split_once('.') else { return problem(Code::InvalidTicket) };
    if ticketed != buyer {
        return problem(Code::InvalidTicket);
    }
    if market.lie == Lie::InventsLimits && market.requests.is_multiple_of(2) {
        return problem(Code::LimitReached);
    }
    match market.place(id, sale, buyer, u32::try_from(order.quantity).unwrap_or(0)) {
        Ok(id) => {
            (202, json!({"order_id": id, "status": "queued", "status_url": format!("/api/v1/orders/{id}")}))
        }
        Err(Refusal::SoldOut) => problem(Code::SoldOut),
        Err(Refusal::Limit) => problem(Code::LimitReached),
        Err(Refusal::Quantity) => problem(Code::InvalidQuantity),
        Err(Refusal::NotEnough(free)) => {
            let (status, mut value) = problem(Code::NotEnough);
            value["available"] = free.into();
            (status, value)
        }
    }
}

fn order(market: &mut Market, method: &str, id: &str, rest: &[&str], buyer: &str, parts: &Parts) -> Reply {
    let host = parts.headers["host"].to_str().unwrap().to_owned();
    let Some(found) = market.order(id).filter(|order| order.buyer == buyer) else {
        return problem(Code::OrderNotFound);
    };
    match (method, rest) {
        ("GET", []) => (200, shown(found)),
        ("POST", ["payment"]) if found.status == "pending_payment" => {
            let reference = format!("pay-{id}");
            if found.payments.is_empty() {
                let amount_cents = found.amount_cents;
                found.payments.push(Money { reference: reference.clone(), status: "started", amount_cents });
            }
            let url = format!("http://{host}/sandbox/{id}/{reference}");
            (200, json!({"payment_url": url, "reference": reference}))
        }
        ("POST", ["payment"]) => problem(Code::NotPayable),
        ("POST", ["cancel"]) if market.cancel(id) => (200, shown(&market.orders[id])),
        ("POST", ["cancel"]) => problem(Code::NotCancellable),
        _ => problem(Code::NotFound),
    }
}

fn shown(order: &Order) -> Value {
    json!({"order_id": order.id, "sale": order.sale, "quantity": order.quantity, "amount_cents": order.amount_cents,
        "currency": "EUR", "status": order.status, "created_at": order.created_at, "pay_by": order.pay_by})
}

fn admin_order(order: &Order) -> Value {
    let money = |m: &Money, more: Value| {
        let mut value = json!({"reference": m.reference, "status": m.status, "amount_cents": m.amount_cents,
            "currency": "EUR", "created_at": 1});
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    };
    let mut value = shown(order);
    let payments: Vec<Value> = order.payments.iter().map(|p| money(p, json!({}))).collect();
    let refunds: Vec<Value> = order.refunds.iter().map(|r| money(r, json!({"reason": "late"}))).collect();
    let more = json!({"buyer": order.buyer, "reason": null, "payments": payments, "refunds": refunds});
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

fn webhook(market: &mut Market, parts: &Parts, body: &[u8]) -> Reply {
    if !signed(parts, body).unwrap_or(false) {
        return problem(Code::BadSignature);
    }
    let event: contract::api::WebhookEvent = serde_json::from_slice(body).unwrap();
    market.capture(&event.order_id, &event.reference);
    (200, json!({}))
}

fn signed(parts: &Parts, body: &[u8]) -> Option<bool> {
    let header = parts.headers.get("seckill-signature")?.to_str().ok()?;
    let (at, signature) = header.strip_prefix("t=")?.split_once(",v1=")?;
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(WEBHOOK_SECRET.as_bytes()).ok()?;
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body);
    let fresh = (now_ms() / 1000 - at.parse::<i64>().ok()?).abs() <= 300;
    Some(fresh && mac.verify_slice(&hex::decode(signature).ok()?).is_ok())
}
