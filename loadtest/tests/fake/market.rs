//! What the fake platform keeps: sales and orders. Commits at once; expires when looked at.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Lie;

/// A payment or a refund.
#[derive(Clone, Debug)]
pub(crate) struct Money {
    pub(crate) reference: String,
    pub(crate) status: &'static str,
    pub(crate) amount_cents: i64,
}

/// An order.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) sale: String,
    pub(crate) buyer: String,
    pub(crate) quantity: u32,
    pub(crate) status: &'static str,
    pub(crate) created_at: i64,
    pub(crate) pay_by: i64,
    pub(crate) amount_cents: i64,
    pub(crate) payments: Vec<Money>,
    pub(crate) refunds: Vec<Money>,
}

impl Order {
    fn is_live(&self) -> bool {
        matches!(self.status, "pending_payment" | "paid")
    }
}

/// A sale, as the operator created it.
#[derive(Clone, Debug)]
pub(crate) struct Sale {
    pub(crate) terms: contract::api::NewSale,
    pub(crate) taken: u32,
    pub(crate) held: BTreeMap<String, u32>,
}

/// Why an order is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    SoldOut,
    NotEnough(u32),
    Limit,
    Quantity,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) lie: Lie,
    pub(crate) sales: BTreeMap<String, Sale>,
    pub(crate) orders: BTreeMap<String, Order>,
    /// Accepted orders that were not kept, by the units they wrongly hold.
    pub(crate) minted: u64,
    pub(crate) requests: u64,
}

#[expect(clippy::disallowed_methods, reason = "the fake's one clock")]
pub(crate) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Market {
    pub(crate) fn new(lie: Lie) -> Self {
        Self { lie, sales: BTreeMap::new(), orders: BTreeMap::new(), minted: 0, requests: 0 }
    }

    pub(crate) fn mint(&mut self) -> String {
        self.minted += 1;
        format!("018f0000-0000-7000-8000-{:012x}", self.minted)
    }

    pub(crate) fn forget_an_order(&mut self) {
        let id = self.orders.keys().next().cloned().unwrap();
        self.orders.remove(&id);
    }

    pub(crate) fn free(&self, sale: &str) -> u32 {
        let sale = &self.sales[sale];
        let shown = match self.lie {
            Lie::Oversells => sale.terms.stock + 1,
            Lie::StrandsUnit => sale.terms.stock - 1,
            _ => sale.terms.stock,
        };
        shown.saturating_sub(sale.taken)
    }

    /// Places an order, or finds the one its id has already.
    pub(crate) fn place(
        &mut self,
        id: &str,
        sale: &str,
        buyer: &str,
        quantity: u32,
    ) -> Result<String, Refusal> {
        let mut id = id.to_owned();
        if self.orders.contains_key(&id) {
            if self.lie != Lie::TwoOrdersPerTicket {
                return Ok(id);
            }
            id = self.mint();
        }
        let free = self.free(sale);
        let slack = u32::from(self.lie == Lie::IgnoresLimit);
        let entry = self.sales.get_mut(sale).unwrap();
        let (limit, held) = (entry.terms.per_user_limit + slack, entry.held.get(buyer).copied().unwrap_or(0));
        if quantity == 0 || quantity > entry.terms.per_user_limit {
            return Err(Refusal::Quantity);
        }
        if held + quantity > limit {
            return Err(Refusal::Limit);
        }
        if free == 0 {
            return Err(Refusal::SoldOut);
        }
        if free < quantity {
            return Err(Refusal::NotEnough(free));
        }
        entry.taken += quantity;
        *entry.held.entry(buyer.to_owned()).or_default() += quantity;
        let created_at = now_ms();
        let order = Order {
            id: id.clone(),
            sale: sale.to_owned(),
            buyer: buyer.to_owned(),
            quantity,
            status: "pending_payment",
            created_at,
            pay_by: created_at + i64::from(entry.terms.pay_within_s) * 1000,
            amount_cents: entry.terms.price_cents * i64::from(quantity),
            payments: Vec::new(),
            refunds: Vec::new(),
        };
        if self.lie == Lie::LosesOrders && id.ends_with('0') {
            return Ok(id);
        }
        self.orders.insert(id.clone(), order);
        Ok(id)
    }

    /// The order, expired if its time has come.
    pub(crate) fn order(&mut self, id: &str) -> Option<&mut Order> {
        let order = self.orders.get_mut(id)?;
        if order.status == "pending_payment" && now_ms() >= order.pay_by {
            order.status = "expired";
            give_back(&mut self.sales, order);
        }
        Some(order)
    }

    pub(crate) fn expire_all(&mut self) {
        let ids: Vec<String> = self.orders.keys().cloned().collect();
        for id in ids {
            let _ = self.order(&id);
        }
    }

    pub(crate) fn cancel(&mut self, id: &str) -> bool {
        let pending = self.order(id).is_some_and(|order| order.status == "pending_payment");
        if pending {
            let order = self.orders.get_mut(id).unwrap();
            order.status = "cancelled";
            give_back(&mut self.sales, order);
        }
        pending
    }

    /// A capture: pays a pending order, pays an expired one late, or is refunded.
    pub(crate) fn capture(&mut self, id: &str, reference: &str) {
        let lie = self.lie;
        let Some(order) = self.order(id) else { return };
        let Some(payment) = order.payments.iter_mut().find(|p| p.reference == reference) else { return };
        if payment.status == "captured" {
            return;
        }
        payment.status = "captured";
        let refund = Money { status: "done", ..payment.clone() };
        match order.status {
            "pending_payment" => order.status = "paid",
            "expired" => {
                let (sale, quantity) = (order.sale.clone(), order.quantity);
                let enough = self.free(&sale) >= quantity;
                let order = self.orders.get_mut(id).unwrap();
                if enough && lie != Lie::RefundsTwice {
                    order.status = "paid";
                    self.sales.get_mut(&sale).unwrap().taken += quantity;
                } else {
                    let times = if lie == Lie::RefundsTwice { 2 } else { 1 };
                    order.refunds.extend(std::iter::repeat_n(refund, times));
                }
            }
            _ if lie == Lie::KeepsMoney => {}
            _ => order.refunds.push(refund),
        }
    }

    pub(crate) fn live_units(&self, sale: &str) -> u32 {
        self.orders.values().filter(|o| o.sale == sale && o.is_live()).map(|o| o.quantity).sum()
    }
}

fn give_back(sales: &mut BTreeMap<String, Sale>, order: &Order) {
    let sale = sales.get_mut(&order.sale).unwrap();
    sale.taken -= order.quantity;
    if let Some(held) = sale.held.get_mut(&order.buyer) {
        *held -= order.quantity;
    }
}
