//! What the gateway counts. Every handle is made once: a request never builds a label.

use contract::Code;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::time::Instant;

use crate::purchase::Answer;

/// The two steps of a purchase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// `POST {buy}/tickets`.
    Ticket,
    /// `POST {buy}/orders`.
    Order,
}

impl Step {
    const ALL: [Self; 2] = [Self::Ticket, Self::Order];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Order => "order",
        }
    }
}

/// The gateway's metrics.
pub(crate) struct Measures {
    granted: [Counter; 2],
    refused: [Vec<Counter>; 2],
    reserve: Histogram,
    publish: Histogram,
    /// Orders whose ticket had its reservation already: somebody came again after a break.
    pub continued: Counter,
    /// Requests other than purchases that were refused by the limit of their address, or the browse limit of their buyer.
    pub browse_refused: Counter,
    /// Messages in each lane, by its number.
    pub lane_depth: Vec<Gauge>,
    /// Open event streams.
    pub streams: Gauge,
    /// Keys tracked by the buyers' and the addresses' limit.
    pub limit_keys: [Gauge; 2],
    /// Keys those limits gave up before their time, their table being full.
    pub limit_evictions: [Counter; 2],
    /// The smallest share that any sale has now: below the setting, load is being shed.
    pub least_share: Gauge,
    /// Buyers in waiting rooms.
    pub room_waiting: Gauge,
    /// Buyers let in from them.
    pub room_entered: Counter,
    /// Sales whose sold-out flag is set.
    pub sold_out: Gauge,
}

impl Measures {
    /// The handles, of the process's recorder.
    #[must_use]
    pub(crate) fn new(lanes: u16) -> Self {
        let granted = |step: Step| counter!("gateway_purchase_granted_total", "step" => step.as_str());
        let refused = |step: Step| {
            let one = |code: &Code| counter!("gateway_purchase_refused_total", "step" => step.as_str(), "code" => code.as_str());
            Code::ALL.iter().map(one).collect()
        };
        let keys = |of: &'static str| gauge!("gateway_limit_keys", "limit" => of);
        let evictions = |of: &'static str| counter!("gateway_limit_evictions_total", "limit" => of);
        Self {
            granted: Step::ALL.map(granted),
            refused: Step::ALL.map(refused),
            reserve: histogram!("gateway_reserve_seconds"),
            publish: histogram!("gateway_publish_seconds"),
            continued: counter!("gateway_orders_continued_total"),
            browse_refused: counter!("gateway_browse_refused_total"),
            lane_depth: (0..lanes).map(|n| gauge!("gateway_lane_depth", "lane" => n.to_string())).collect(),
            streams: gauge!("gateway_event_streams"),
            limit_keys: [keys("buyer"), keys("address")],
            limit_evictions: [evictions("buyer"), evictions("address")],
            least_share: gauge!("gateway_sale_share_least"),
            room_waiting: gauge!("gateway_waiting_room_buyers"),
            room_entered: counter!("gateway_waiting_room_let_in_total"),
            sold_out: gauge!("gateway_sales_flagged_sold_out"),
        }
    }

    /// Counts the answer to a purchase request.
    pub(crate) fn answered(&self, step: Step, answer: &Answer) {
        let code = match answer {
            Answer::Issued(_) | Answer::Accepted { .. } => {
                self.granted[step as usize].increment(1);
                return;
            }
            Answer::Refused(refusal) => refusal.code,
            Answer::Problem(error) => error.code,
        };
        self.refused[step as usize][code as usize].increment(1);
    }

    /// Records how long a reservation took.
    pub(crate) fn reserved(&self, started: Instant) {
        self.reserve.record(started.elapsed());
    }

    /// Records how long a publish took.
    pub(crate) fn published(&self, started: Instant) {
        self.publish.record(started.elapsed());
    }
}
