-- Sales as operators made them. Money in minor units, times in Unix milliseconds.
create table inventory_sales (
    id             text   collate "C" not null primary key,
    title          text   not null,
    price_cents    bigint not null,
    currency       text   collate "C" not null,
    per_user_limit bigint not null,
    opens_at       bigint not null,
    ends_at        bigint not null,
    pay_within_s   bigint not null,
    phase          text   collate "C" not null check (phase in ('active', 'paused', 'ended')),
    slug           text   collate "C" not null unique,
    -- Rises with every change of terms or phase; the stock store ignores older ones.
    version        bigint not null,
    -- Units offered in all, and how often that was raised; the ledger and the stock store are told
    -- these two, never a difference.
    total          bigint not null,
    total_version  bigint not null,
    created_at     bigint not null,
    -- What a sale asks of its crowd, as JSON: only gateways act on it.
    rules          text   not null default '{}'
);

-- Idempotency keys, written in the transaction of their effect.
create table inventory_idempotency (
    key         text   collate "C" not null primary key,
    -- What was asked for; the same key with another request is a conflict.
    fingerprint text   collate "C" not null,
    sale        text   collate "C" not null,
    created_at  bigint not null
);
create index inventory_idempotency_by_age on inventory_idempotency (created_at);
