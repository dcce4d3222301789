-- Notices as they were delivered. The id makes a second delivery of the same notice a no-op.
create table notify_mailbox (
    id         text primary key,
    channel    text    not null,
    priority   text    not null,
    buyer      text    not null,
    order_id   text    not null,
    subject    text    not null,
    body       text    not null,
    created_at integer not null
) strict, without rowid;

create index notify_mailbox_by_buyer on notify_mailbox (buyer, created_at);
create index notify_mailbox_by_age on notify_mailbox (created_at);
