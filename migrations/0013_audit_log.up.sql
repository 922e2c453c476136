-- phase: expand
-- Who did what to what, when, from where, and how it ended: operators' actions and what became of keys. Append-only, for everybody.

CREATE TABLE audit_log (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    request_id uuid NOT NULL,
    actor_kind text NOT NULL CHECK (actor_kind IN ('operator', 'api_key', 'unknown')),
    actor text NOT NULL,
    action text NOT NULL,
    tenant_id uuid,
    target text NOT NULL,
    from_address text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('begun', 'done', 'refused', 'failed')),
    status smallint
);
COMMENT ON COLUMN audit_log.outcome IS 'An action is written twice under one request_id: begun before it takes effect, then how it ended.';
CREATE INDEX audit_log_tenant ON audit_log (tenant_id, id) WHERE tenant_id IS NOT NULL;
CREATE INDEX audit_log_action ON audit_log (action, id);

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON audit_log TO app_rw
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_rows ON audit_log TO app_system USING (true) WITH CHECK (true);
CREATE POLICY audit_rows ON audit_log FOR SELECT TO readonly_audit USING (true);
REVOKE UPDATE, DELETE ON audit_log FROM app_rw, app_system;

-- The grants are the fence for the server; this one is for the owner's mistakes too.
CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql SET search_path = app, pg_temp
    AS $$ BEGIN RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'insufficient_privilege'; END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log();

-- Operators' requests by their Idempotency-Key, with the answers that they had. No answer that shows a key is kept.
CREATE TABLE operator_requests (
    key text PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 255),
    route text NOT NULL,
    request_sha256 bytea NOT NULL,
    response_status smallint,
    response_body text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX operator_requests_age ON operator_requests (created_at);
REVOKE ALL ON operator_requests FROM app_rw;
