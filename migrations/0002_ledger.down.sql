DROP TABLE invoices, ledger, pool_counters, period_segments, billing_periods, billing_head;
DROP FUNCTION refuse_change();
