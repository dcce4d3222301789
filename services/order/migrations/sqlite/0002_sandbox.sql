-- The payment sandbox's own books: what a real provider would keep on its side.
-- `webhook` is the event it still has to deliver, as the exact body to sign.
create table sandbox_charges (
    reference    text    not null primary key,
    order_id     text    not null,
    sale         text    not null,
    amount_cents integer not null,
    currency     text    not null,
    pay_by       integer not null,
    status       text    not null check (status in ('open', 'captured', 'failed')),
    capture_at   integer,
    refunded     integer not null default 0,
    webhook      text
) without rowid;
create index sandbox_charges_scheduled on sandbox_charges (capture_at) where capture_at is not null;
create index sandbox_charges_undelivered on sandbox_charges (reference) where webhook is not null;
