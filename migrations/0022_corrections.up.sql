-- phase: expand
-- Corrections by hand: who asked for what, and why; what became of it. The money is a row of the ledger (`adjust`), which names the
-- correction as its evidence.

CREATE TABLE corrections (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    micros bigint NOT NULL CHECK (micros <> 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 200),
    needs_second boolean NOT NULL,
    proposed_by text NOT NULL,
    proposed_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'booked', 'withdrawn')),
    decided_by text,
    decided_at timestamptz,
    period integer,
    seq bigint,
    PRIMARY KEY (tenant_id, id),
    CHECK ((state = 'proposed') = (decided_by IS NULL) AND (state = 'proposed') = (decided_at IS NULL)),
    CHECK ((state = 'booked') = (seq IS NOT NULL) AND (state = 'booked') = (period IS NOT NULL)),
    CHECK (NOT (needs_second AND state = 'booked' AND lower(decided_by) = lower(proposed_by)))
);
COMMENT ON COLUMN corrections.micros IS 'What the tenant owes more; below zero it is a credit.';
COMMENT ON COLUMN corrections.period IS 'The period on whose invoice it stands.';
COMMENT ON COLUMN corrections.seq IS 'The ledger row that books it.';
CREATE UNIQUE INDEX corrections_once ON corrections (tenant_id, micros, reason) WHERE state <> 'withdrawn';
CREATE INDEX corrections_waiting ON corrections (proposed_at) WHERE state = 'proposed';

CREATE FUNCTION refuse_decided_correction() RETURNS trigger LANGUAGE plpgsql SET search_path = app, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'a correction that is % changes no more', OLD.state;
END
$$;
CREATE TRIGGER corrections_decided_once BEFORE UPDATE ON corrections
    FOR EACH ROW WHEN (OLD.state <> 'proposed') EXECUTE FUNCTION refuse_decided_correction();
CREATE TRIGGER corrections_kept BEFORE DELETE OR TRUNCATE ON corrections
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE corrections ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON corrections FOR SELECT TO app_rw
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_rows ON corrections TO app_system USING (true) WITH CHECK (true);
CREATE POLICY audit_rows ON corrections FOR SELECT TO readonly_audit USING (true);
REVOKE INSERT, UPDATE, DELETE ON corrections FROM app_rw;
REVOKE UPDATE, DELETE ON corrections FROM app_system;
GRANT UPDATE (state, decided_by, decided_at, period, seq) ON corrections TO app_system;
