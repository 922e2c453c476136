-- phase: expand
-- The ledger: one append-only row per transfer, the head that fences its only writer, counters, periods, invoices.

CREATE TABLE billing_head (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id),
    epoch bigint NOT NULL DEFAULT 0,
    seq bigint NOT NULL DEFAULT 0,
    head_hash bytea NOT NULL CHECK (length(head_hash) = 32)
) WITH (fillfactor = 50);
COMMENT ON TABLE billing_head IS 'The only hot row of a tenant''s billing; whoever holds its epoch and seq may decide.';

CREATE TABLE billing_periods (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    number integer NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    timezone text NOT NULL,
    anchor_day smallint NOT NULL CHECK (anchor_day BETWEEN 1 AND 31),
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closing', 'invoiced')),
    cut_seq bigint,
    cut_hash bytea,
    PRIMARY KEY (tenant_id, number),
    CHECK (starts_at < ends_at)
);

CREATE TABLE period_segments (
    tenant_id uuid NOT NULL,
    period integer NOT NULL,
    number integer NOT NULL,
    plan_id uuid NOT NULL REFERENCES plans (id),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, period, number),
    FOREIGN KEY (tenant_id, period) REFERENCES billing_periods (tenant_id, number)
);

CREATE TABLE pool_counters (
    tenant_id uuid NOT NULL,
    period integer NOT NULL,
    segment integer NOT NULL,
    pool text NOT NULL,
    category text NOT NULL,
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    captured bigint NOT NULL DEFAULT 0 CHECK (captured >= 0),
    free bigint NOT NULL DEFAULT 0 CHECK (free >= 0),
    voided bigint NOT NULL DEFAULT 0 CHECK (voided >= 0),
    expired bigint NOT NULL DEFAULT 0 CHECK (expired >= 0),
    forced bigint NOT NULL DEFAULT 0 CHECK (forced >= 0),
    PRIMARY KEY (tenant_id, period, segment, pool, category)
) WITH (fillfactor = 50);

CREATE TABLE ledger (
    tenant_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1),
    kind text NOT NULL CHECK (kind IN ('grant', 'regrant', 'reserve', 'reject', 'capture', 'free', 'void', 'expire',
        'recapture', 'accrue', 'breakage', 'rollover', 'adjust', 'close')),
    attempt_id uuid,
    period integer NOT NULL,
    segment integer NOT NULL,
    pool text NOT NULL,
    category text NOT NULL,
    debit text NOT NULL,
    credit text NOT NULL,
    units bigint NOT NULL,
    micros bigint NOT NULL,
    currency text NOT NULL,
    evidence_id uuid,
    fingerprint bytea NOT NULL,
    epoch bigint NOT NULL,
    at timestamptz NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (tenant_id, seq)
);
CREATE UNIQUE INDEX ledger_attempt_kind ON ledger (tenant_id, attempt_id, kind) WHERE attempt_id IS NOT NULL;
COMMENT ON TABLE ledger IS 'Append-only. Attempt ids only, no recipients, so that erasing a person never touches it.';

CREATE TABLE invoices (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    period integer NOT NULL,
    state text NOT NULL CHECK (state IN ('draft', 'final')),
    currency text NOT NULL,
    total_minor bigint NOT NULL,
    lines json NOT NULL,
    cut_seq bigint NOT NULL,
    cut_hash bytea NOT NULL,
    rating_version smallint NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, period),
    FOREIGN KEY (tenant_id, period) REFERENCES billing_periods (tenant_id, number)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP;
END
$$;
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
