-- phase: expand
-- Quarantine of a tenant whose actors kept failing: the row is the truth, whichever node owns the tenant.

ALTER TABLE tenants ADD COLUMN quarantine_error text;
ALTER TABLE tenants ADD COLUMN quarantined_until timestamptz;
ALTER TABLE tenants ADD COLUMN quarantine_number integer NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN quarantine_released_at timestamptz;
COMMENT ON COLUMN tenants.quarantine_error IS 'What failed last.';
COMMENT ON COLUMN tenants.quarantined_until IS 'When it is released by itself.';
COMMENT ON COLUMN tenants.quarantine_number IS 'Which in a row of quarantines with little service between them the last one was.';
COMMENT ON COLUMN tenants.quarantine_released_at IS 'When it was last released.';
-- Before the first release: no installation has rows that this index would make wait.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX tenants_quarantined ON tenants (id) WHERE quarantined_at IS NOT NULL;
