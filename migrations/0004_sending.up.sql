-- phase: expand
-- What is done about messages that stay unknown, Meta's message history as evidence, and how many people a portfolio may reach.

ALTER TABLE tenants ADD COLUMN unknown_after_seconds integer CHECK (unknown_after_seconds >= 5);
COMMENT ON COLUMN tenants.unknown_after_seconds IS 'After what time unknown_policy acts on a message; never if null.';

-- Set while the message is unknown; cleared with every way out of it.
ALTER TABLE messages ADD COLUMN unknown_since timestamptz;
ALTER TABLE messages ADD COLUMN unknown_wish text CHECK (unknown_wish IN ('resend', 'fail'));
COMMENT ON COLUMN messages.unknown_wish IS 'What somebody of the tenant asked to be done about it; its owner does it.';
-- Before the first release: no installation has rows that this index would make wait.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX messages_unknown ON messages (tenant_id, unknown_since) WHERE unknown_since IS NOT NULL;

-- It is replaced by a wider one: nothing that was allowed is refused.
-- squawk-ignore ban-drop-constraint
ALTER TABLE events DROP CONSTRAINT events_source_check;
ALTER TABLE events ADD CONSTRAINT events_source_check
    CHECK (source IN ('meta', 'send', 'history', 'policy', 'hand')) NOT VALID;

-- How far Meta's history has been asked about a tenant's messages without news.
CREATE TABLE history_scans (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id),
    after_id uuid NOT NULL,
    due_at timestamptz NOT NULL
);

-- Meta counts the people whom all numbers of a portfolio reach in 24 hours.
CREATE TABLE portfolios (
    id text PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    messaging_limit integer CHECK (messaging_limit >= 1),
    reached integer NOT NULL DEFAULT 0 CHECK (reached >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX portfolios_tenant ON portfolios (tenant_id, id);
COMMENT ON COLUMN portfolios.reached IS 'How many rows of portfolio_recipients there are; kept only while there is a limit.';

CREATE TABLE portfolio_recipients (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    portfolio_id text NOT NULL REFERENCES portfolios (id),
    recipient_key bigint NOT NULL,
    reached_at timestamptz NOT NULL,
    attempt_id uuid NOT NULL,
    is_renewed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (portfolio_id, recipient_key)
);
COMMENT ON COLUMN portfolio_recipients.recipient_key IS 'Stands for a recipient without naming them.';
CREATE INDEX portfolio_recipients_age ON portfolio_recipients (portfolio_id, reached_at);
CREATE INDEX portfolio_recipients_attempt ON portfolio_recipients (attempt_id);

INSERT INTO portfolios (id, tenant_id)
    SELECT portfolio_id, min(tenant_id::text)::uuid FROM senders WHERE portfolio_id IS NOT NULL GROUP BY portfolio_id;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['history_scans', 'portfolios', 'portfolio_recipients']
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
REVOKE INSERT, UPDATE, DELETE ON history_scans, portfolio_recipients FROM app_rw;
REVOKE DELETE ON portfolios FROM app_rw;
