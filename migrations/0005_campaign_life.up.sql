-- phase: expand
-- The life of campaigns: their history, canaries, sending windows, and what Meta says of templates, numbers and accounts.

ALTER TABLE campaigns
    ADD COLUMN sending_window json,
    ADD COLUMN paused_at timestamptz;
COMMENT ON COLUMN campaigns.sending_window IS 'When recipients may be written to: {start, end, days, zone}; none means always.';
-- Before the first release: no installation has rows that this index would make wait.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX campaigns_paused ON campaigns (reason) WHERE state = 'paused';

-- Every change of a campaign's state, whoever makes it. What cannot be skipped is written by the trigger; who did it and why come
-- from the transaction's settings malote.by and malote.evidence.
CREATE TABLE campaign_events (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    campaign_id uuid NOT NULL REFERENCES campaigns (id),
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT now(),
    from_state text NOT NULL,
    from_reason text,
    to_state text NOT NULL,
    to_reason text,
    actor text NOT NULL,
    evidence text,
    PRIMARY KEY (tenant_id, campaign_id, id)
);

CREATE FUNCTION record_campaign_event() RETURNS trigger LANGUAGE plpgsql SET search_path = app, pg_temp AS $$
BEGIN
    IF (OLD.state, OLD.reason) IS DISTINCT FROM (NEW.state, NEW.reason) THEN
        NEW.paused_at := CASE WHEN NEW.state = 'paused' THEN now() END;
        INSERT INTO campaign_events (tenant_id, campaign_id, from_state, from_reason, to_state, to_reason, actor, evidence)
        VALUES (NEW.tenant_id, NEW.id, OLD.state, OLD.reason, NEW.state, NEW.reason,
            coalesce(nullif(current_setting('malote.by', true), ''), 'malote'),
            nullif(current_setting('malote.evidence', true), ''));
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER campaign_events BEFORE UPDATE OF state, reason ON campaigns
    FOR EACH ROW EXECUTE FUNCTION record_campaign_event();

-- A canary: the sample of a campaign that goes first. Its state is here, its members are marked in messages.
CREATE TABLE campaign_canaries (
    campaign_id uuid PRIMARY KEY REFERENCES campaigns (id),
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    percent double precision NOT NULL CHECK (percent > 0 AND percent <= 50),
    hold_seconds integer NOT NULL CHECK (hold_seconds >= 0),
    max_failure_percent double precision NOT NULL CHECK (max_failure_percent >= 0 AND max_failure_percent <= 100),
    on_success text NOT NULL CHECK (on_success IN ('continue', 'wait')),
    state text NOT NULL DEFAULT 'choosing' CHECK (state IN ('choosing', 'sending', 'holding', 'passed', 'failed')),
    size bigint NOT NULL DEFAULT 0,
    done bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    decides_at timestamptz,
    decided_at timestamptz
);
CREATE INDEX campaign_canaries_open ON campaign_canaries (state) WHERE state IN ('choosing', 'sending', 'holding');
ALTER TABLE messages ADD COLUMN is_canary boolean NOT NULL DEFAULT false;
-- Before the first release: no installation has rows that this index would make wait.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX messages_canary ON messages (campaign_id) WHERE is_canary;
-- Before the first release: no installation has rows that this index would make wait.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX messages_canary_due ON messages (campaign_id, due_at) WHERE is_canary AND due_at IS NOT NULL;

-- What ended badly, found without reading a campaign's million rows. Neither column changes with the statuses that come after
-- acceptance, so those updates still touch no index.
-- Before the first release: no installation has rows that this index would make wait.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX messages_causes ON messages (tenant_id, campaign_id)
    WHERE campaign_id IS NOT NULL AND (error_code IS NOT NULL OR error_reason IS NOT NULL);

-- How far running campaigns were, every few seconds, for an honest time of arrival. Kept for minutes.
CREATE TABLE campaign_samples (
    campaign_id uuid NOT NULL REFERENCES campaigns (id),
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    slot bigint NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    gone bigint NOT NULL,
    PRIMARY KEY (campaign_id, slot)
);
CREATE INDEX campaign_samples_age ON campaign_samples (slot);

-- The last word of Meta about something, by Meta's own time: an older word that comes late changes nothing.
CREATE TABLE meta_states (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    kind text NOT NULL CHECK (kind IN ('template', 'number', 'account', 'preference')),
    subject text NOT NULL,
    state text NOT NULL,
    heard_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, kind, subject)
);

ALTER TABLE other_events
    ADD COLUMN happened_at timestamptz,
    ADD COLUMN applied_at timestamptz,
    ADD COLUMN outcome text;
-- Before the first release: no installation has rows that this index would make wait.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX other_events_unapplied ON other_events (received_at) WHERE applied_at IS NULL AND quarantined_because IS NULL AND kind IN
    ('message_template_status_update', 'phone_number_quality_update', 'account_update', 'user_preferences');

ALTER TABLE senders
    ADD COLUMN held_until timestamptz,
    ADD COLUMN held_because text,
    ADD COLUMN holds smallint NOT NULL DEFAULT 0,
    ADD COLUMN token_changed_at timestamptz;
-- Before the first release: no installation has rows that this index would make wait.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX senders_held ON senders (held_until) WHERE state = 'held';
-- Before the first release: no installation has rows that this index would make wait.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX senders_account ON senders (waba_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['campaign_events', 'campaign_canaries', 'campaign_samples', 'meta_states']
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
REVOKE UPDATE, DELETE ON campaign_events FROM app_rw, app_system;
REVOKE INSERT, UPDATE, DELETE ON campaign_samples FROM app_rw;
