-- `ask_at`: when the provider is next asked what became of a payment whose order can no longer be paid, and of which
-- nobody has told the end; null: not any more. `asks`: how often it was asked.
-- `charge`: the provider's name of the payment where the row needs one of its own, because that payment was captured
-- before, with other money.
alter table payments add column ask_at bigint;
alter table payments add column asks bigint not null default 0;
alter table payments add column charge text collate "C";
update payments set ask_at = created_at where status = 'started';
create index payments_to_ask on payments (ask_at) where status = 'started' and ask_at is not null;
create index payments_by_charge on payments (charge) where charge is not null;
