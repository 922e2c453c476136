-- phase: expand
-- The tables of the main job: tenants, what they send, what came of it.
-- Applied by `malote migrate up` as migration_admin, with search_path = app.

CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    partitions smallint NOT NULL CHECK (partitions BETWEEN 1 AND 1024),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE installation IS 'Facts fixed for the life of an installation, checked when a server starts.';

CREATE TABLE plans (
    id uuid PRIMARY KEY,
    code text NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    name text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    currency_exponent smallint NOT NULL CHECK (currency_exponent BETWEEN 0 AND 3),
    fee_minor bigint NOT NULL CHECK (fee_minor >= 0),
    allowance_units bigint NOT NULL CHECK (allowance_units >= 0),
    policy text NOT NULL CHECK (policy IN ('hard', 'overage', 'soft')),
    overage_cap_units bigint CHECK (overage_cap_units >= 0),
    overage_price_micros bigint NOT NULL DEFAULT 0 CHECK (overage_price_micros >= 0),
    messages_per_second integer CHECK (messages_per_second >= 1),
    rating_version smallint NOT NULL DEFAULT 1,
    published_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (code, version)
);
COMMENT ON TABLE plans IS 'Published versions of plans. A row never changes.';

CREATE TABLE tenants (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    timezone text NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'offboarded')),
    unknown_policy text NOT NULL DEFAULT 'keep' CHECK (unknown_policy IN ('keep', 'resend', 'fail')),
    quarantined_at timestamptz,
    quarantine_reason text,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    name text NOT NULL,
    prefix text NOT NULL UNIQUE,
    secret_sha256 bytea NOT NULL CHECK (length(secret_sha256) = 32),
    scopes text[] NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX api_keys_tenant ON api_keys (tenant_id, id);

CREATE TABLE plan_assignments (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    effective_from timestamptz NOT NULL,
    plan_id uuid NOT NULL REFERENCES plans (id),
    timing text NOT NULL CHECK (timing IN ('now', 'period_end')),
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, effective_from, created_at)
);
COMMENT ON TABLE plan_assignments IS 'Which plan a tenant has from when. Append-only; the newest that is in effect counts.';

CREATE TABLE senders (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    phone_number_id text NOT NULL UNIQUE,
    waba_id text NOT NULL,
    display_phone_number text NOT NULL,
    access_token text NOT NULL,
    messages_per_second integer NOT NULL DEFAULT 80 CHECK (messages_per_second BETWEEN 1 AND 1000),
    portfolio_id text,
    meta_app text NOT NULL DEFAULT 'default',
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'held', 'token_invalid')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX senders_tenant ON senders (tenant_id, id);

CREATE TABLE templates (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    waba_id text NOT NULL,
    name text NOT NULL,
    language text NOT NULL,
    category text NOT NULL CHECK (category IN ('marketing', 'utility', 'authentication', 'service')),
    status text NOT NULL,
    components json NOT NULL,
    meta_id text NOT NULL,
    synced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, waba_id, name, language)
);

CREATE TABLE campaigns (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    sender_id uuid NOT NULL REFERENCES senders (id),
    name text NOT NULL,
    template json NOT NULL,
    category text NOT NULL CHECK (category IN ('marketing', 'utility', 'authentication', 'service')),
    state text NOT NULL DEFAULT 'draft'
        CHECK (state IN ('draft', 'scheduled', 'running', 'paused', 'finished', 'cancelled')),
    reason text CHECK ((state = 'paused') = (reason IS NOT NULL)),
    schedule_at timestamptz,
    launched_at timestamptz,
    finished_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN campaigns.template IS 'The template object as the tenant gave it, {{columns}} included. Fixed once recipients are added.';
CREATE INDEX campaigns_tenant ON campaigns (tenant_id, id);
CREATE INDEX campaigns_active ON campaigns (state) WHERE state IN ('scheduled', 'running');
CREATE INDEX campaigns_sweep ON campaigns (finished_at) WHERE state = 'cancelled';

-- Changes of the campaign's counts by writer kind; the counts are the sums. Each kind has its own row,
-- so that writers do not wait for each other.
CREATE TABLE campaign_counts (
    campaign_id uuid NOT NULL REFERENCES campaigns (id),
    writer text NOT NULL CHECK (writer IN ('api', 'planner', 'committer')),
    tenant_id uuid NOT NULL,
    planned bigint NOT NULL DEFAULT 0,
    queued bigint NOT NULL DEFAULT 0,
    sending bigint NOT NULL DEFAULT 0,
    accepted bigint NOT NULL DEFAULT 0,
    sent bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    read bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    unknown bigint NOT NULL DEFAULT 0,
    dead bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    suppressed bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign_id, writer)
) WITH (fillfactor = 50);

-- One row per message and recipient. A state's own column (due_at, queued_at, deadline) is set exactly while the
-- message is in that state; the partial indexes use those columns and never `state`, so that the statuses that come
-- after acceptance touch no index (heap-only updates).
CREATE TABLE messages (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    campaign_id uuid,
    sender_id uuid NOT NULL,
    recipient text NOT NULL,
    category text NOT NULL CHECK (category IN ('marketing', 'utility', 'authentication', 'service')),
    body json,
    parameters json,
    state text NOT NULL CHECK (state IN ('planned', 'queued', 'sending', 'accepted', 'sent', 'delivered', 'read',
        'failed', 'unknown', 'dead', 'cancelled', 'suppressed')),
    due_at timestamptz,
    queued_at timestamptz,
    deadline timestamptz,
    attempt_id uuid,
    attempt_number integer NOT NULL DEFAULT 0,
    counted_attempts integer NOT NULL DEFAULT 0,
    wamid text,
    error_code integer,
    error_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT messages_body CHECK ((campaign_id IS NULL) = (body IS NOT NULL)),
    CONSTRAINT messages_due CHECK ((state = 'planned') = (due_at IS NOT NULL)),
    CONSTRAINT messages_queue CHECK ((state = 'queued') = (queued_at IS NOT NULL)),
    CONSTRAINT messages_claim CHECK ((state = 'sending') = (deadline IS NOT NULL))
) WITH (fillfactor = 60);
COMMENT ON TABLE messages IS 'The truth about each message. Every key starts with tenant_id, so it can be partitioned by it.';
COMMENT ON COLUMN messages.body IS 'What a single message says; a campaign''s message takes its campaign''s template.';
COMMENT ON COLUMN messages.parameters IS 'The values of this recipient by column, frozen at upload.';
CREATE UNIQUE INDEX messages_campaign_recipient ON messages (tenant_id, campaign_id, recipient) WHERE campaign_id IS NOT NULL;
CREATE INDEX messages_single_recipient ON messages (tenant_id, recipient, id) WHERE campaign_id IS NULL;
CREATE INDEX messages_campaign_due ON messages (campaign_id, due_at) WHERE due_at IS NOT NULL AND campaign_id IS NOT NULL;
CREATE INDEX messages_single_due ON messages (due_at) WHERE due_at IS NOT NULL AND campaign_id IS NULL;
CREATE INDEX messages_queued ON messages (sender_id, queued_at) WHERE queued_at IS NOT NULL;
CREATE INDEX messages_sending ON messages (tenant_id, deadline) WHERE deadline IS NOT NULL;
CREATE UNIQUE INDEX messages_attempt ON messages (tenant_id, attempt_id) WHERE attempt_id IS NOT NULL;

-- Attempts that ended and were followed by something else (a retry, a resend, death); the last attempt is on the row.
CREATE TABLE message_attempts (
    tenant_id uuid NOT NULL,
    attempt_id uuid NOT NULL,
    message_id uuid NOT NULL,
    attempt_number integer NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now(),
    outcome text NOT NULL CHECK (outcome IN ('retry', 'failed', 'dead', 'unknown')),
    error_code integer,
    reason text NOT NULL,
    PRIMARY KEY (tenant_id, attempt_id)
);
CREATE INDEX message_attempts_message ON message_attempts (tenant_id, message_id, attempt_number);

-- The evidence: one row per fact about an attempt, from Meta's webhooks (source 'meta') or from a refused call ('send').
CREATE TABLE events (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    source text NOT NULL CHECK (source IN ('meta', 'send')),
    status text NOT NULL CHECK (status IN ('sent', 'delivered', 'read', 'failed')),
    attempt_id uuid NOT NULL,
    wamid text,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    pricing_type text,
    pricing_category text,
    pricing_billable boolean,
    error_code integer,
    raw json,
    applied_at timestamptz,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX events_identity ON events (tenant_id, attempt_id, status, source);
CREATE INDEX events_unapplied ON events (tenant_id, received_at) WHERE applied_at IS NULL;
COMMENT ON INDEX events_identity IS 'A status is itself: Meta may deliver it any number of times, in any batch.';

-- Everything else that Meta reports, and statuses that match no attempt of ours.
CREATE TABLE other_events (
    id uuid PRIMARY KEY,
    tenant_id uuid,
    kind text NOT NULL,
    identity bytea NOT NULL UNIQUE,
    phone_number_id text,
    waba_id text,
    received_at timestamptz NOT NULL DEFAULT now(),
    quarantined_because text,
    raw json NOT NULL
);
CREATE INDEX other_events_tenant ON other_events (tenant_id, id) WHERE tenant_id IS NOT NULL;

CREATE TABLE suppressions (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    recipient text NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, recipient)
);

CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    tenant_id uuid,
    kind text NOT NULL CHECK (kind IN ('undecodable', 'delivery_limit', 'poison')),
    queue text NOT NULL,
    payload bytea NOT NULL,
    error text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    resolution text
);
CREATE INDEX dead_letters_open ON dead_letters (id) WHERE resolved_at IS NULL;

CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    route text NOT NULL,
    request_sha256 bytea NOT NULL,
    response_status smallint,
    response_body text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE partition_owner (
    partition smallint PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    node text,
    claimed_at timestamptz
);

CREATE TABLE nodes (
    node text PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    roles text[] NOT NULL,
    version text NOT NULL
);
