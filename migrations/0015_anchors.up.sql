-- phase: expand
-- Anchors of the ledgers' chains, copied outside of the database: whoever owns the database can rewrite a chain, and not its anchors.

CREATE TABLE audit_anchors (
    number bigint PRIMARY KEY CHECK (number >= 1),
    taken_at timestamptz NOT NULL,
    root bytea NOT NULL CHECK (length(root) = 32)
);
COMMENT ON COLUMN audit_anchors.root IS 'SHA-256 over the anchor before and the heads of all tenants in the order of their ids.';

CREATE TABLE audit_anchor_heads (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    number bigint NOT NULL REFERENCES audit_anchors (number),
    seq bigint NOT NULL CHECK (seq >= 1),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (tenant_id, number)
);

ALTER TABLE audit_anchor_heads ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON audit_anchor_heads TO app_rw
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_rows ON audit_anchor_heads TO app_system USING (true) WITH CHECK (true);
CREATE POLICY audit_rows ON audit_anchor_heads FOR SELECT TO readonly_audit USING (true);
REVOKE INSERT, UPDATE, DELETE ON audit_anchors, audit_anchor_heads FROM app_rw;
REVOKE UPDATE, DELETE ON audit_anchors, audit_anchor_heads FROM app_system;
CREATE TRIGGER audit_anchors_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_anchors
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_anchor_heads_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_anchor_heads
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What is done every so often by whichever planner comes first. Only who moves `due_at` runs a job, so that two never do.
CREATE TABLE planner_jobs (
    name text PRIMARY KEY,
    due_at timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz,
    findings bigint NOT NULL DEFAULT 0
);
REVOKE ALL ON planner_jobs FROM app_rw;
REVOKE DELETE ON planner_jobs FROM app_system;
