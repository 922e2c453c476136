-- phase: expand
-- Row-level security: a second fence behind every WHERE tenant_id. app_rw sees the rows of the tenant that its
-- transaction names and nothing else; app_system (committer, planner, operators' API) crosses tenants; readonly_audit reads.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['api_keys', 'plan_assignments', 'senders', 'templates', 'campaigns', 'campaign_counts',
        'messages', 'message_attempts', 'events', 'other_events', 'suppressions', 'dead_letters', 'idempotency_keys',
        'billing_head', 'billing_periods', 'period_segments', 'pool_counters', 'ledger', 'invoices']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_rows ON %I TO app_rw
            USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)
            WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', name);
        EXECUTE format('CREATE POLICY all_rows ON %I TO app_system USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY audit_rows ON %I FOR SELECT TO readonly_audit USING (true)', name);
    END LOOP;
END
$$;
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON tenants FOR SELECT TO app_rw
    USING (id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_rows ON tenants TO app_system USING (true) WITH CHECK (true);
CREATE POLICY audit_rows ON tenants FOR SELECT TO readonly_audit USING (true);

-- What the roles' default privileges would allow and the design does not.
REVOKE UPDATE, DELETE ON ledger FROM app_rw, app_system;
REVOKE INSERT, UPDATE, DELETE ON plans, tenants, billing_head, billing_periods, period_segments, pool_counters, ledger,
    invoices, partition_owner, nodes, installation FROM app_rw;
REVOKE UPDATE, DELETE ON plans, plan_assignments FROM app_system;

-- The only thing that must be read before the tenant is known: the key that names it.
CREATE FUNCTION find_api_key(wanted text)
    RETURNS TABLE (id uuid, tenant_id uuid, secret_sha256 bytea, scopes text[], expires_at timestamptz,
        revoked_at timestamptz, tenant_state text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = app, pg_temp
    AS $$ SELECT k.id, k.tenant_id, k.secret_sha256, k.scopes, k.expires_at, k.revoked_at, t.state
          FROM api_keys k JOIN tenants t ON t.id = k.tenant_id WHERE k.prefix = wanted $$;
REVOKE ALL ON FUNCTION find_api_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_api_key(text) TO app_rw, app_system;
