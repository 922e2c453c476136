-- phase: expand
-- Plans with pools of categories, graduated prices and thresholds; segments that name their assignment; warnings, each once.

ALTER TABLE plans
    ADD COLUMN pools json,
    ADD COLUMN thresholds smallint[] NOT NULL DEFAULT '{50,80,90,100}',
    ADD COLUMN anchor_day smallint NOT NULL DEFAULT 1 CHECK (anchor_day BETWEEN 1 AND 31);
COMMENT ON COLUMN plans.pools IS 'What is counted together; without it one pool of all categories, as the columns beside say.';

ALTER TABLE period_segments ADD COLUMN assigned_at timestamptz;
COMMENT ON COLUMN period_segments.assigned_at IS 'From when the assignment is that it stems from: a later one opens the next segment.';

CREATE TABLE usage_warnings (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    period integer NOT NULL,
    segment integer NOT NULL,
    pool text NOT NULL,
    measure text NOT NULL CHECK (measure IN ('reserved', 'used')),
    percent smallint NOT NULL CHECK (percent BETWEEN 1 AND 100),
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, period, segment, pool, measure, percent)
);
COMMENT ON TABLE usage_warnings IS 'A share of an allowance that was reached; written by the commit that reached it, once per plan in force.';

ALTER TABLE usage_warnings ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON usage_warnings TO app_rw
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_rows ON usage_warnings TO app_system USING (true) WITH CHECK (true);
CREATE POLICY audit_rows ON usage_warnings FOR SELECT TO readonly_audit USING (true);
REVOKE INSERT, UPDATE, DELETE ON usage_warnings FROM app_rw;
REVOKE UPDATE, DELETE ON usage_warnings FROM app_system;
