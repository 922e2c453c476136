-- phase: expand
-- What the checks of the books find, kept until it is gone or somebody has explained it; and each run, so that a sample can be drawn again.

CREATE TABLE book_checks (
    id uuid PRIMARY KEY,
    job text NOT NULL,
    seed bigint,
    attempts uuid[],
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now(),
    ledger_rows bigint NOT NULL CHECK (ledger_rows >= 0),
    findings bigint NOT NULL CHECK (findings >= 0)
);
COMMENT ON COLUMN book_checks.attempts IS 'Those of a sample, as they were drawn.';
CREATE INDEX book_checks_age ON book_checks (job, began_at);

CREATE TABLE book_findings (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    invariant text NOT NULL,
    found text NOT NULL,
    job text NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'explained', 'gone')),
    note text,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, invariant, found),
    CHECK ((state = 'explained') <= (note IS NOT NULL))
);
COMMENT ON COLUMN book_findings.state IS 'open; explained by somebody, in the note; gone when a later run of the job did not find it.';
CREATE INDEX book_findings_open ON book_findings (job) WHERE state <> 'gone';

ALTER TABLE book_findings ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON book_findings TO app_rw
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_rows ON book_findings TO app_system USING (true) WITH CHECK (true);
CREATE POLICY audit_rows ON book_findings FOR SELECT TO readonly_audit USING (true);
REVOKE ALL ON book_checks, book_findings FROM app_rw;
REVOKE UPDATE, DELETE ON book_checks FROM app_system;
REVOKE DELETE ON book_findings FROM app_system;
