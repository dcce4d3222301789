-- Buyers come in no order: half the size of a tree, and a page to look at where a tree has three. A buyer has
-- few orders; they are sorted when they are listed.
drop index orders_by_buyer;
create index orders_by_buyer on orders using hash (buyer);
