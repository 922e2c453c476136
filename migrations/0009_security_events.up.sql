-- phase: expand
-- What Meta signed and no tenant may be told: somebody else's number or account. One row per kind, account, number and hour, however
-- often it happens, so that nobody can fill the table.

CREATE TABLE security_events (
    id uuid PRIMARY KEY,
    tenant_id uuid,
    kind text NOT NULL,
    waba_id text NOT NULL,
    phone_number_id text NOT NULL DEFAULT '',
    hour timestamptz NOT NULL,
    seen bigint NOT NULL CHECK (seen >= 1),
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (hour, kind, waba_id, phone_number_id)
);
COMMENT ON COLUMN security_events.tenant_id IS 'Whose number it was about, if it is known.';
CREATE INDEX security_events_tenant ON security_events (tenant_id, hour) WHERE tenant_id IS NOT NULL;

ALTER TABLE security_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON security_events TO app_rw
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_rows ON security_events TO app_system USING (true) WITH CHECK (true);
CREATE POLICY audit_rows ON security_events FOR SELECT TO readonly_audit USING (true);
REVOKE INSERT, UPDATE, DELETE ON security_events FROM app_rw;
REVOKE DELETE ON security_events FROM app_system;
