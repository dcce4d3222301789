-- The ledger. Times are Unix milliseconds, money is integer minor units, order ids are their 16 bytes.

-- A sale's own guard: however many messages come, it takes no more than `total` units.
-- The counters follow the orders in the same transaction, so that nobody has to count rows.
create table allocations (
    sale            text    not null primary key,
    total           integer not null check (total >= 0),
    total_version   integer not null,
    epoch           integer not null,
    price_cents     integer not null check (price_cents >= 0),
    currency        text    not null,
    per_user_limit  integer not null,
    pay_within_s    integer not null,
    taken           integer not null default 0,
    pending_payment integer not null default 0,
    paid            integer not null default 0,
    cancelled       integer not null default 0,
    expired         integer not null default 0,
    rejected        integer not null default 0,
    refunded        integer not null default 0,
    check (taken between 0 and total)
) without rowid;

-- `late`: the units are held under the reservation of a late payment.
create table orders (
    id           blob    not null primary key check (length(id) = 16),
    sale         text    not null,
    buyer        text    not null,
    quantity     integer not null check (quantity >= 1),
    amount_cents integer not null check (amount_cents >= 0),
    currency     text    not null,
    status       text    not null,
    late         integer not null default 0,
    reason       text,
    created_at   integer not null,
    pay_by       integer not null
) without rowid;
create index orders_by_buyer on orders (buyer, id);
create index orders_due on orders (pay_by) where status = 'pending_payment';

-- `outcome` says what became of a capture: it paid its order, it came late and waits for units, or
-- it was paid back. `order_id` is null when the capture named no order that exists.
create table payments (
    reference     text    not null primary key,
    order_id      blob,
    amount_cents  integer not null,
    currency      text    not null,
    status        text    not null check (status in ('started', 'captured', 'failed')),
    outcome       text    check (outcome in ('applied', 'late', 'refunded')),
    created_at    integer not null,
    late_since    integer,
    late_attempts integer not null default 0,
    late_next_at  integer
) without rowid;
create index payments_by_order on payments (order_id);
create unique index payments_under_way on payments (order_id) where status = 'started';
create index payments_late on payments (late_next_at) where outcome = 'late';

-- What the provider told, each event once.
create table payment_events (
    event_id     text    not null primary key,
    kind         text    not null,
    reference    text    not null,
    order_text   text    not null,
    amount_cents integer not null,
    currency     text    not null,
    received_at  integer not null
) without rowid;

-- At most one per captured payment: the reference is the key.
create table refunds (
    reference    text    not null primary key,
    order_id     blob,
    reason       text    not null,
    status       text    not null check (status in ('requested', 'done')),
    amount_cents integer not null,
    currency     text    not null,
    created_at   integer not null,
    attempts     integer not null default 0,
    next_at      integer not null
) without rowid;
create index refunds_by_order on refunds (order_id);
create index refunds_requested on refunds (next_at) where status = 'requested';

-- What the ledger said to an order's late reservation; said once.
create table late_claims (
    order_id blob    not null primary key,
    outcome  text    not null check (outcome in ('taken', 'rejected')),
    epoch    integer not null
) without rowid;

-- What is still to be told. `seq` never comes twice, so it can name the event.
create table outbox (
    seq    integer primary key autoincrement,
    kind   text    not null,
    sale   text    not null,
    epoch  integer not null,
    at     integer not null,
    orders text    not null
);
