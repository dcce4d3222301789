-- What a sale asks of its crowd, as JSON: only gateways act on it.
alter table inventory_sales add column rules text not null default '{}';
