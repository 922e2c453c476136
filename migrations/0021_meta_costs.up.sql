-- phase: expand
-- What Meta takes for messages: its rate card, and the cost of each captured unit beside the ledger, so that the margin can be seen.

CREATE TABLE meta_rates (
    prefix text NOT NULL,
    market text NOT NULL,
    category text NOT NULL CHECK (category IN ('marketing', 'utility', 'authentication', 'service')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    micros bigint NOT NULL CHECK (micros >= 0),
    effective_from timestamptz NOT NULL,
    imported_by text NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (prefix, category, currency, effective_from)
);
COMMENT ON TABLE meta_rates IS 'Append-only: a price changes by a later row.';
COMMENT ON COLUMN meta_rates.prefix IS 'How recipients of the market begin: +55 or BR.; empty for all others.';
REVOKE ALL ON meta_rates FROM app_rw;
REVOKE UPDATE, DELETE ON meta_rates FROM app_system;

CREATE TABLE message_costs (
    tenant_id uuid NOT NULL,
    seq bigint NOT NULL,
    period integer NOT NULL,
    category text NOT NULL,
    currency text NOT NULL,
    drifted boolean NOT NULL,
    delivered_at timestamptz NOT NULL,
    market text,
    micros bigint CHECK (micros >= 0),
    rate_from timestamptz,
    PRIMARY KEY (tenant_id, seq),
    CHECK (num_nulls(market, micros, rate_from) IN (0, 3))
);
COMMENT ON COLUMN message_costs.seq IS 'The ledger row that captured the unit.';
COMMENT ON COLUMN message_costs.drifted IS 'Meta charged another category than was reserved.';
COMMENT ON COLUMN message_costs.micros IS 'Null until a rate card has a price in the currency of the tenant''s plan.';
CREATE INDEX message_costs_unpriced ON message_costs (tenant_id, seq) WHERE micros IS NULL;

ALTER TABLE message_costs ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON message_costs TO app_rw
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_rows ON message_costs TO app_system USING (true) WITH CHECK (true);
CREATE POLICY audit_rows ON message_costs FOR SELECT TO readonly_audit USING (true);
REVOKE ALL ON message_costs FROM app_rw;
REVOKE DELETE ON message_costs FROM app_system;
