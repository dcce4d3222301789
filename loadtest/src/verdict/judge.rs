//! From facts to promises kept or broken. Pure.

use std::collections::HashMap;

use super::{Facts, Fate, Promise, Verdict};
use crate::journal::{Entry, Foot};

/// Offenders named in a line.
const NAMED_MAX: usize = 3;

/// The promise that no order is refused after its 202.
pub(crate) const ACCEPTED_IS_SOLD: &str = "what was accepted is sold";

/// Judges a run.
pub(crate) fn judge(facts: &Facts) -> Verdict {
    let promises = vec![
        tested(facts),
        one_order_per_ticket(facts),
        nothing_lost(facts),
        nothing_taken_back(facts),
        never_oversold(facts),
        within_limit(facts),
        nothing_leaked(facts),
        sold_what_was_wanted(facts),
        audit(facts),
        contract_kept(facts),
        refused_with_reason(facts),
    ];
    Verdict { promises }
}

/// The journal's entries with their fates.
fn orders(facts: &Facts) -> impl Iterator<Item = (&Entry, Fate)> {
    facts.account.entries.iter().zip(facts.fates.iter().copied())
}

fn units(facts: &Facts, which: impl Fn(Fate) -> bool) -> u64 {
    orders(facts).filter(|(_, fate)| which(*fate)).map(|(e, _)| u64::from(e.quantity)).sum()
}

fn sampled(facts: &Facts) -> bool {
    facts.fates.contains(&Fate::Unchecked)
}

fn named<'a>(offenders: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = offenders.collect();
    let shown = all.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(" ");
    let more = if all.len() > NAMED_MAX { " …" } else { "" };
    format!("{} ({shown}{more})", all.len())
}

fn tested(facts: &Facts) -> Promise {
    let accepted = facts.account.entries.len();
    let checked = facts.fates.iter().filter(|f| **f != Fate::Unchecked).count();
    let detail = format!("{accepted} orders accepted, {checked} of them looked up");
    Promise::new("something was tested", accepted > 0 && checked > 0, detail)
}

fn one_order_per_ticket(facts: &Facts) -> Promise {
    let entries = &facts.account.entries;
    let mut by_order: HashMap<&str, u32> = HashMap::with_capacity(entries.len());
    let mut by_ticket: HashMap<&str, u32> = HashMap::with_capacity(entries.len());
    for entry in entries {
        *by_order.entry(&entry.order).or_default() += 1;
        *by_ticket.entry(&entry.ticket).or_default() += 1;
    }
    let twice = |seen: &HashMap<&str, u32>| seen.values().filter(|n| **n > 1).count();
    let (orders, tickets) = (twice(&by_order), twice(&by_ticket));
    let detail = format!("{orders} order ids twice, {tickets} tickets with two orders");
    Promise::new("one ticket, one order", orders == 0 && tickets == 0, detail)
}

fn nothing_lost(facts: &Facts) -> Promise {
    let of = |fate: Fate| orders(facts).filter(move |(_, f)| *f == fate).map(|(e, _)| &*e.order);
    let (lost, stuck, unreadable) = (of(Fate::Lost), of(Fate::Queued), of(Fate::Unreadable));
    let held = facts.fates.iter().all(|f| !matches!(f, Fate::Lost | Fate::Queued | Fate::Unreadable))
        && facts.fates.len() == facts.account.entries.len();
    let detail =
        format!("lost {}, still queued {}, unreadable {}", named(lost), named(stuck), named(unreadable));
    Promise::new("never lose what was accepted", held, detail)
}

/// The ledger may refuse what was accepted (a fence that overtook its order, units that the stock store
/// only believed in); the protocol sees to it that it never has to.
fn nothing_taken_back(facts: &Facts) -> Promise {
    let rejected: Vec<_> = orders(facts)
        .filter(|(e, fate)| *fate == Fate::Rejected && !e.refused)
        .map(|(e, _)| &*e.order)
        .collect();
    let held = rejected.is_empty();
    Promise::new(ACCEPTED_IS_SOLD, held, format!("rejected {}", named(rejected.into_iter())))
}

fn never_oversold(facts: &Facts) -> Promise {
    let (head, ledger) = (&facts.account.head, &facts.ledger);
    let live = units(facts, Fate::is_live);
    let taken = ledger.order_store.taken;
    let mut held = taken <= ledger.total && ledger.total >= head.stock;
    held &= live + u64::from(head.taken_before) <= u64::from(ledger.total);
    // The ledger must agree with the buyers: it holds their live units, and what nobody was told of.
    if !sampled(facts) {
        let known = live + u64::from(head.taken_before);
        held &= u64::from(taken) >= known;
        if let Some(foot) = facts.account.foot {
            held &= u64::from(taken) <= known + foot.unknown;
        }
    }
    let detail = format!(
        "taken {taken} of {}, live by the buyers' own reading {live}, taken before {}",
        ledger.total, head.taken_before
    );
    Promise::new("never oversell", held, detail)
}

fn within_limit(facts: &Facts) -> Promise {
    let limit = facts.account.head.per_user_limit;
    let mut held_by: HashMap<&str, u32> = HashMap::new();
    for (entry, fate) in orders(facts) {
        if fate.is_live() {
            *held_by.entry(&entry.buyer).or_default() += entry.quantity;
        }
    }
    let over = held_by.iter().filter(|(_, units)| **units > limit).map(|(buyer, _)| *buyer);
    let most = held_by.values().copied().max().unwrap_or(0);
    let held = most <= limit;
    let detail = format!("limit {limit}, most held {most}, buyers above {}", named(over));
    Promise::new("no buyer above the limit", held, detail)
}

fn nothing_leaked(facts: &Facts) -> Promise {
    let (ledger, taken) = (&facts.ledger, facts.ledger.order_store.taken);
    let Some(stock) = ledger.stock_store else {
        return Promise::new(
            "never leak a unit, both stores agree",
            false,
            "the stock store is lost or being rebuilt",
        );
    };
    let sum = u64::from(stock.free) + u64::from(stock.reserved) + u64::from(stock.settled);
    let held = sum == u64::from(ledger.total)
        && stock.settled == taken
        && stock.reserved == 0
        && ledger.queued == 0
        && ledger.consistent;
    let detail = format!(
        "free {} + reserved {} + settled {} of {}; taken {taken}; queued {}; consistent {}",
        stock.free, stock.reserved, stock.settled, ledger.total, ledger.queued, ledger.consistent
    );
    Promise::new("never leak a unit, both stores agree", held, detail)
}

/// Sold = min(stock, demand). Units that came back may have come back after the last buyer left, and
/// units that a buyer gave up on may have been held while others were told "sold out": both widen
/// the lower bound, neither the upper one.
fn sold_what_was_wanted(facts: &Facts) -> Promise {
    const NAME: &str = "sold = min(stock, demand)";
    let Some(foot) = facts.account.foot else {
        return Promise::new(NAME, true, "the run was cut off: the demand is not known, not judged");
    };
    let before = u64::from(facts.account.head.taken_before);
    let stock = u64::from(facts.ledger.total).saturating_sub(before);
    let sold = u64::from(facts.ledger.order_store.taken).saturating_sub(before);
    let returned = units(facts, |fate| matches!(fate, Fate::Returned | Fate::Rejected));
    let wanted = stock.min(foot.demand);
    let least = wanted.saturating_sub(returned).saturating_sub(foot.unknown);
    let most = stock.min(foot.demand + foot.unknown);
    // A sample cannot say what came back.
    let held = sold <= most && (sold >= least || sampled(facts));
    let detail = format!(
        "sold {sold}, stock {stock}, demand {} (unknown {}), came back {returned}: {least} to {most} expected",
        foot.demand, foot.unknown
    );
    Promise::new(NAME, held, detail)
}

fn audit(facts: &Facts) -> Promise {
    let findings = &facts.audit.findings;
    let shown: Vec<String> =
        findings.iter().take(NAMED_MAX).map(|f| format!("{}: {}", f.invariant, f.detail)).collect();
    let held = facts.audit.ok && findings.is_empty();
    Promise::new("the audit finds nothing", held, format!("{} findings {}", findings.len(), shown.join("; ")))
}

/// What only a foot tells: how many of something there were, of which there may be none.
fn none_of(name: &str, facts: &Facts, count: impl Fn(Foot) -> u64, words: &str) -> Promise {
    let Some(foot) = facts.account.foot else {
        return Promise::new(name, true, "the run was cut off: its answers are not known, not judged");
    };
    let found = count(foot);
    Promise::new(name, found == 0, format!("{found} {words}"))
}

fn contract_kept(facts: &Facts) -> Promise {
    none_of("every answer is one of the contract's", facts, |foot| foot.wrong, "were not")
}

/// A platform that turns honest buyers away sells exactly what is still demanded of it.
fn refused_with_reason(facts: &Facts) -> Promise {
    none_of("nobody is refused without a reason", facts, |foot| foot.refused, "refusals have none")
}
