DROP INDEX tenants_quarantined;
ALTER TABLE tenants DROP COLUMN quarantine_released_at;
ALTER TABLE tenants DROP COLUMN quarantine_number;
ALTER TABLE tenants DROP COLUMN quarantined_until;
ALTER TABLE tenants DROP COLUMN quarantine_error;
