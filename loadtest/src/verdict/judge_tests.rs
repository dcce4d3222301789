//! A verdict must fail on every lie. Each test starts from an honest run and tells one.

use contract::api::{Audit, Finding, Ledger, OrderCounts, StockCounts};

use super::{Facts, Fate, judge};
use crate::journal::{Account, Entry, Foot, Head};

/// 10 units, 15 buyers wanted one each: 10 accepted, all live.
fn honest() -> Facts {
    let entries: Vec<Entry> = (0..10)
        .map(|n| Entry {
            order: format!("o-{n}").into(),
            buyer: format!("b-{n}").into(),
            quantity: 1,
            ticket: format!("t-{n}").into(),
            refused: false,
        })
        .collect();
    Facts {
        fates: vec![Fate::Pending; 10],
        account: Account {
            head: Head { sale: "s".into(), stock: 10, per_user_limit: 1, taken_before: 0 },
            entries,
            foot: Some(Foot { demand: 15, ..Foot::default() }),
        },
        ledger: Ledger {
            total: 10,
            epoch: 1,
            stock_store: Some(StockCounts { free: 0, reserved: 0, settled: 10 }),
            order_store: OrderCounts { taken: 10, pending_payment: 10, ..OrderCounts::default() },
            queued: 0,
            consistent: true,
        },
        audit: Audit { ok: true, findings: vec![] },
    }
}

/// The promises broken once this lie is told.
fn broken(lie: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = honest();
    lie(&mut facts);
    let verdict = judge(&facts);
    let broken: Vec<String> =
        verdict.promises.iter().filter(|p| !p.held).map(|p| p.promise.clone()).collect();
    assert_eq!(verdict.passed(), broken.is_empty());
    broken
}

fn set_free_and_taken(facts: &mut Facts, free: u32, taken: u32) {
    facts.ledger.stock_store = Some(StockCounts { free, reserved: 0, settled: taken });
    facts.ledger.order_store.taken = taken;
}

#[test]
fn an_honest_run_passes() {
    assert_eq!(broken(|_| ()), Vec::<String>::new());
}

#[test]
fn a_lost_order_is_seen() {
    assert_eq!(broken(|f| f.fates[3] = Fate::Lost)[0], "never lose what was accepted");
    assert_eq!(broken(|f| f.fates[3] = Fate::Queued)[0], "never lose what was accepted");
    assert_eq!(broken(|f| f.fates[3] = Fate::Unreadable)[0], "never lose what was accepted");
}

#[test]
fn an_order_refused_after_it_was_accepted_is_seen() {
    let refused = broken(|f| {
        f.fates[3] = Fate::Rejected;
        set_free_and_taken(f, 1, 9);
    });
    assert_eq!(refused, ["what was accepted is sold"]);
    let told = broken(|f| {
        f.fates[3] = Fate::Rejected;
        f.account.entries[3].refused = true;
        set_free_and_taken(f, 1, 9);
    });
    assert_eq!(told, Vec::<String>::new(), "a 202 that tells of the refusal promised nothing");
}

#[test]
fn an_order_forgotten_by_the_collector_is_seen() {
    assert!(broken(|f| f.fates.truncate(9)).contains(&"never lose what was accepted".to_owned()));
}

#[test]
fn an_oversold_ledger_is_seen() {
    let over = broken(|f| {
        set_free_and_taken(f, 0, 11);
        f.ledger.stock_store = Some(StockCounts { free: 0, reserved: 0, settled: 11 });
    });
    assert!(over.contains(&"never oversell".to_owned()), "{over:?}");
}

#[test]
fn live_orders_beyond_the_stock_are_seen_even_when_the_ledger_denies_them() {
    let over = broken(|f| {
        let mut extra = f.account.entries[0].clone();
        (extra.order, extra.buyer, extra.ticket) = ("o-x".into(), "b-x".into(), "t-x".into());
        f.account.entries.push(extra);
        f.fates.push(Fate::Pending);
    });
    assert!(over.contains(&"never oversell".to_owned()), "{over:?}");
}

#[test]
fn a_ledger_that_denies_a_live_order_is_seen() {
    assert!(broken(|f| set_free_and_taken(f, 0, 9)).contains(&"never oversell".to_owned()));
}

#[test]
fn a_duplicate_is_seen() {
    assert_eq!(broken(|f| f.account.entries[1].order = "o-0".into()), ["one ticket, one order"]);
    assert_eq!(broken(|f| f.account.entries[1].ticket = "t-0".into()), ["one ticket, one order"]);
}

#[test]
fn a_buyer_above_the_limit_is_seen() {
    assert_eq!(broken(|f| f.account.entries[1].buyer = "b-0".into()), ["no buyer above the limit"]);
    let given_back = broken(|f| {
        f.account.entries[1].buyer = "b-0".into();
        f.fates[1] = Fate::Returned;
        set_free_and_taken(f, 1, 9);
    });
    assert_eq!(given_back, Vec::<String>::new(), "a cancelled unit does not count");
}

#[test]
fn a_stranded_unit_is_seen() {
    let stranded = broken(|f| {
        f.account.entries.pop();
        f.fates.pop();
        set_free_and_taken(f, 1, 9);
    });
    assert_eq!(stranded, ["sold = min(stock, demand)"]);
}

#[test]
fn a_leaked_unit_is_seen() {
    let leaked = "never leak a unit, both stores agree";
    let stock = |free, reserved, settled| Some(StockCounts { free, reserved, settled });
    assert_eq!(broken(|f| f.ledger.stock_store = stock(0, 1, 9)), [leaked]);
    assert_eq!(broken(|f| f.ledger.stock_store = stock(0, 0, 9)), [leaked]);
    assert_eq!(broken(|f| f.ledger.stock_store = None), [leaked]);
    assert_eq!(broken(|f| f.ledger.consistent = false), [leaked]);
    assert_eq!(broken(|f| f.ledger.queued = 1), [leaked]);
}

#[test]
fn what_a_buyer_gave_up_on_widens_the_bounds_by_just_that() {
    let less_demand = |unknown| {
        broken(move |f| {
            f.account.entries.truncate(8);
            f.fates.truncate(8);
            f.account.foot = Some(Foot { demand: 8, unknown, ..Foot::default() });
            set_free_and_taken(f, 1, 9);
        })
    };
    assert!(!less_demand(0).is_empty(), "a unit nobody asked for");
    assert_eq!(less_demand(1), Vec::<String>::new());
}

#[test]
fn an_audit_finding_or_a_wrong_answer_is_seen() {
    let finding = Finding { invariant: "I1".into(), sale: None, detail: "x".into() };
    assert_eq!(broken(|f| f.audit.findings.push(finding)), ["the audit finds nothing"]);
    assert_eq!(broken(|f| f.audit.ok = false), ["the audit finds nothing"]);
    let wrong = broken(|f| f.account.foot = Some(Foot { demand: 15, wrong: 1, ..Foot::default() }));
    assert_eq!(wrong, ["every answer is one of the contract's"]);
    let refused = broken(|f| f.account.foot = Some(Foot { demand: 15, refused: 1, ..Foot::default() }));
    assert_eq!(refused, ["nobody is refused without a reason"]);
}

#[test]
fn nothing_tested_is_a_failure() {
    let nothing = broken(|f| {
        f.account.entries.clear();
        f.fates.clear();
        f.account.foot = Some(Foot::default());
        set_free_and_taken(f, 10, 0);
    });
    assert_eq!(nothing, ["something was tested"]);
}
