-- Sales as operators made them. Money in minor units, times in Unix milliseconds.
create table inventory_sales (
    id             text primary key,
    title          text    not null,
    price_cents    integer not null,
    currency       text    not null,
    per_user_limit integer not null,
    opens_at       integer not null,
    ends_at        integer not null,
    pay_within_s   integer not null,
    phase          text    not null check (phase in ('active', 'paused', 'ended')),
    slug           text    not null unique,
    -- Rises with every change of terms or phase; the stock store ignores older ones.
    version        integer not null,
    -- Units offered in all, and how often that was raised; the ledger and the stock store are told
    -- these two, never a difference.
    total          integer not null,
    total_version  integer not null,
    created_at     integer not null
) strict;

-- Idempotency keys, written in the transaction of their effect.
create table inventory_idempotency (
    key         text primary key,
    -- What was asked for; the same key with another request is a conflict.
    fingerprint text    not null,
    sale        text    not null,
    created_at  integer not null
) strict;
