-- The payment sandbox's own books: what a real provider would keep on its side.
-- `webhook` is the event it still has to deliver, as the exact body to sign; whoever delivers it has
-- until `deliver_at`, then others may.
create table sandbox_charges (
    reference    text    collate "C" not null primary key,
    order_id     text    collate "C" not null,
    sale         text    collate "C" not null,
    amount_cents bigint  not null,
    currency     text    collate "C" not null,
    pay_by       bigint  not null,
    status       text    collate "C" not null check (status in ('open', 'captured', 'failed')),
    capture_at   bigint,
    refunded     boolean not null default false,
    webhook      text,
    deliver_at   bigint  not null default 0
);
create index sandbox_charges_scheduled on sandbox_charges (capture_at) where capture_at is not null;
create index sandbox_charges_undelivered on sandbox_charges (deliver_at) where webhook is not null;
