-- The live orders of a sale, by id: what a rebuild of its stock reads, page by page. Without it every page walks the
-- orders of all sales there ever were. `quantity > 0` holds for every order: only the statement that says so too may use
-- this index, and the one that reads what a buyer holds of a sale keeps using the buyer's.
create index orders_live on orders (sale, id) where status in ('pending_payment', 'paid') and quantity > 0;
