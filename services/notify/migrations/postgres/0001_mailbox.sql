-- Notices as they were delivered. The id makes a second delivery of the same notice a no-op; `seq` rises
-- with every delivery, and tells how many there are without counting.
create table notify_mailbox (
    seq        bigint generated always as identity primary key,
    created_at bigint not null,
    id         text   collate "C" not null unique,
    channel    text   collate "C" not null,
    priority   text   collate "C" not null,
    buyer      text   collate "C" not null,
    order_id   text   collate "C" not null,
    subject    text   not null,
    body       text   not null
);
create index notify_mailbox_by_buyer on notify_mailbox (buyer, created_at);
