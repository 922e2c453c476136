DROP FUNCTION find_api_key(text);
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tenants', 'api_keys', 'plan_assignments', 'senders', 'templates', 'campaigns',
        'campaign_counts', 'messages', 'message_attempts', 'events', 'other_events', 'suppressions', 'dead_letters',
        'idempotency_keys', 'billing_head', 'billing_periods', 'period_segments', 'pool_counters', 'ledger', 'invoices']
    LOOP
        EXECUTE format('DROP POLICY IF EXISTS tenant_rows ON %I', name);
        EXECUTE format('DROP POLICY IF EXISTS all_rows ON %I', name);
        EXECUTE format('DROP POLICY IF EXISTS audit_rows ON %I', name);
        EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', name);
    END LOOP;
END
$$;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO app_rw, app_system;
-- Not of any migration: the list of what is applied.
REVOKE INSERT, UPDATE, DELETE ON schema_migrations FROM app_rw, app_system;
