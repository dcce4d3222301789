-- The live orders of a sale, by id: what a rebuild of its stock reads, page by page. Without it every page walks the
-- orders of all sales there ever were.
--
-- An index of some rows may serve every statement whose conditions imply that its rows are in it, and one that looks
-- for a single row by its key may be among them: to pay is to look for this id, unpaid. Where the statistics are of a
-- quiet moment, in which there was no unpaid order, the planner takes the index of unpaid orders for empty, and walks
-- all of it instead of looking up the id. So each of these indexes asks for one thing more. It holds for every row, and
-- only the statement that the index is for says so too.
create index orders_live on orders (sale, id) where status in ('pending_payment', 'paid') and quantity > 0;

drop index orders_due;
create index orders_due on orders (pay_by) where status = 'pending_payment' and amount_cents >= 0;

-- It keeps a second payment from starting, and serves no statement.
drop index payments_under_way;
create unique index payments_under_way on payments (order_id) where status = 'started' and created_at > 0;

drop index payments_to_ask;
create index payments_to_ask on payments (ask_at) where status = 'started' and ask_at is not null and asks >= 0;

drop index payments_late;
create index payments_late on payments (late_next_at) where outcome = 'late' and late_attempts >= 0;

drop index refunds_requested;
create index refunds_requested on refunds (next_at) where status = 'requested' and attempts >= 0;
