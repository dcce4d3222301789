-- The ledger. Times are Unix milliseconds, money is integer minor units. Texts compare by bytes: they
-- are identifiers, and nobody reads them in an alphabet's order.

-- The one clock of the ledger, whatever the clocks of the services say.
create function seckill_now() returns bigint language sql volatile parallel safe
    as $$ select floor(extract(epoch from clock_timestamp()) * 1000)::bigint $$;

-- A sale's own guard: however many messages come, it takes no more than `total` units.
-- The counters follow the orders in the same transaction, so that nobody has to count rows.
-- The fill factor leaves room on the page for the next versions of a row that changes with every batch.
create table allocations (
    sale            text   collate "C" not null primary key,
    total           bigint not null check (total >= 0),
    total_version   bigint not null,
    epoch           bigint not null,
    price_cents     bigint not null check (price_cents >= 0),
    currency        text   collate "C" not null,
    per_user_limit  bigint not null,
    pay_within_s    bigint not null,
    taken           bigint not null default 0,
    pending_payment bigint not null default 0 check (pending_payment >= 0),
    paid            bigint not null default 0 check (paid >= 0),
    cancelled       bigint not null default 0 check (cancelled >= 0),
    expired         bigint not null default 0 check (expired >= 0),
    rejected        bigint not null default 0 check (rejected >= 0),
    refunded        bigint not null default 0 check (refunded >= 0),
    check (taken between 0 and total)
) with (fillfactor = 50);

-- `late`: the units are held under the reservation of a late payment.
-- Wide columns first: no bytes are lost to alignment.
create table orders (
    id           uuid    not null primary key,
    quantity     bigint  not null check (quantity >= 1),
    amount_cents bigint  not null check (amount_cents >= 0),
    created_at   bigint  not null,
    pay_by       bigint  not null,
    late         boolean not null default false,
    sale         text    collate "C" not null,
    buyer        text    collate "C" not null,
    currency     text    collate "C" not null,
    status       text    collate "C" not null,
    reason       text    collate "C"
);
create index orders_by_buyer on orders (buyer, id);
create index orders_due on orders (pay_by) where status = 'pending_payment';

-- `outcome` says what became of a capture: it paid its order, it came late and waits for units, or
-- it was paid back. `order_id` is null when the capture named no order that exists.
create table payments (
    reference     text   collate "C" not null primary key,
    order_id      uuid,
    amount_cents  bigint not null,
    currency      text   collate "C" not null,
    status        text   collate "C" not null check (status in ('started', 'captured', 'failed')),
    outcome       text   collate "C" check (outcome in ('applied', 'late', 'refunded')),
    created_at    bigint not null,
    late_since    bigint,
    late_attempts bigint not null default 0,
    late_next_at  bigint
);
create index payments_by_order on payments (order_id);
create unique index payments_under_way on payments (order_id) where status = 'started';
create index payments_late on payments (late_next_at) where outcome = 'late';

-- What the provider told, each event once.
create table payment_events (
    event_id     text   collate "C" not null primary key,
    kind         text   collate "C" not null,
    reference    text   collate "C" not null,
    order_text   text   collate "C" not null,
    amount_cents bigint not null,
    currency     text   collate "C" not null,
    received_at  bigint not null
);

-- At most one per captured payment: the reference is the key.
create table refunds (
    reference    text   collate "C" not null primary key,
    order_id     uuid,
    reason       text   collate "C" not null,
    status       text   collate "C" not null check (status in ('requested', 'done')),
    amount_cents bigint not null,
    currency     text   collate "C" not null,
    created_at   bigint not null,
    attempts     bigint not null default 0,
    next_at      bigint not null
);
create index refunds_by_order on refunds (order_id);
create index refunds_requested on refunds (next_at) where status = 'requested';

-- What the ledger said to an order's late reservation; said once.
create table late_claims (
    order_id uuid   not null primary key,
    outcome  text   collate "C" not null check (outcome in ('taken', 'rejected')),
    epoch    bigint not null
);

-- What is still to be told. `seq` never comes twice, so it can name the event. What it says of an order
-- never changes and stands in its row, so that an event is its orders' ids and little more: `late` is the
-- reservation it is about. `facts` is for what has no row. `holder` tells it until `held_until`; then
-- whoever comes may.
create table outbox (
    seq        bigint  generated always as identity primary key,
    epoch      bigint  not null,
    at         bigint  not null,
    held_until bigint  not null,
    holder     uuid    not null,
    late       boolean not null,
    kind       text    collate "C" not null,
    sale       text    collate "C" not null,
    orders     uuid[]  not null,
    facts      text
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
-- Ids do not compress; trying costs more than the write.
alter table outbox alter column orders set storage external;
