//! What every order store must do. [`for_store`] makes one test of each rule, for any adapter.

mod bench;
mod deadline;
mod lane;
mod late;
mod lies;
mod lines;
mod money;
mod reading;

pub(super) use bench::{Bench, HandClock, Hands, START, buyer, fence, id, order, sale};
pub(super) use lies::LIES;

/// `for_store!(make)`: `make` is an async fn that answers a [`Bench`] over an empty store. What follows it
/// in the call stands above every test.
macro_rules! for_store {
    ($make:path $(, $(#[$attribute:meta])+)?) => {
        $crate::order_store::contract_suite::for_store!(@tests $make, [$($(#[$attribute])+)?];
            lane: orders_take_units_until_they_are_gone_and_the_rest_is_rejected_by_row,
            lane: a_batch_that_comes_again_changes_nothing,
            lane: known_orders_in_a_batch_leave_the_units_to_the_new_ones,
            lane: a_known_order_amid_new_ones_is_left_as_it_is,
            lane: only_rows_really_inserted_are_counted,
            lane: a_buyers_live_units_stay_within_the_limit_over_batches,
            lane: amounts_and_due_times_come_from_the_allocation,
            lane: an_unknown_sale_or_an_impossible_amount_is_no_outage,
            lane: one_bad_batch_does_not_spoil_those_that_share_its_commit,
            lines: a_fence_closes_what_never_came_and_tells_again_what_did,
            lines: a_fence_works_in_line_with_the_orders_around_it,
            lines: a_fence_among_many_does_what_it_would_alone,
            lines: a_fence_is_one_of_a_thousand,
            lines: a_barrier_voids_older_messages_and_comes_again_without_effect,
            lines: a_fence_for_a_first_reservation_releases_it_after_a_late_payment,
            money: a_payment_under_way_is_found_again_and_a_failed_one_replaced,
            money: a_capture_pays_once_and_repeats_change_nothing,
            money: wrong_money_is_paid_back_and_never_pays,
            money: money_for_nobody_and_second_captures_are_paid_back,
            money: a_refund_happens_once_and_gives_the_units_back,
            money: refund_work_is_due_until_done,
            money: other_money_under_a_known_reference_is_another_capture,
            money: a_payment_nobody_told_the_end_of_is_asked_about_until_it_is_known,
            money: a_payment_that_was_asked_about_is_replaced_or_counts,
            deadline: a_cancel_gives_units_back_and_only_before_payment,
            deadline: a_deadline_is_the_first_moment_too_late,
            deadline: expiry_takes_only_what_is_unpaid_and_overdue,
            deadline: a_lost_webhook_found_at_the_deadline_still_pays,
            late: a_late_payment_takes_its_units_again,
            late: a_late_payment_without_units_is_paid_back_and_its_reservation_released,
            late: a_late_reservation_of_another_stock_state_is_made_again,
            late: a_late_claim_is_answered_once,
            late: a_second_late_capture_is_paid_back_and_leaves_the_units_alone,
            late: a_late_payment_waits_durably_for_its_next_attempt,
            late: what_is_still_to_be_done_is_counted,
            reading: lists_go_back_in_time_page_by_page,
            reading: allocations_only_rise_and_only_by_newer_versions,
            reading: a_snapshot_is_one_moment_of_the_live_orders,
            reading: the_outbox_keeps_what_was_not_told,
            reading: the_audit_is_silent_after_all_of_a_life,
        );
    };
    (@tests $make:path, $attributes:tt; $($group:ident: $rule:ident,)*) => {
        $($crate::order_store::contract_suite::for_store!(@test $make, $attributes, $rule);)*
    };
    (@test $make:path, [$(#[$attribute:meta])*], $rule:ident) => {
        #[tokio::test]
        $(#[$attribute])*
        async fn $rule() {
            $crate::order_store::contract_suite::rules::$rule($make().await).await;
        }
    };
}
pub(super) use for_store;

/// The rules by name, whichever file they are in.
pub(super) mod rules {
    pub(in crate::order_store) use super::deadline::*;
    pub(in crate::order_store) use super::lane::*;
    pub(in crate::order_store) use super::late::*;
    pub(in crate::order_store) use super::lines::*;
    pub(in crate::order_store) use super::money::*;
    pub(in crate::order_store) use super::reading::*;
}
