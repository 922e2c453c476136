DROP TABLE usage_warnings;
ALTER TABLE period_segments DROP COLUMN assigned_at;
ALTER TABLE plans DROP COLUMN anchor_day, DROP COLUMN thresholds, DROP COLUMN pools;
