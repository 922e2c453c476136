-- phase: expand
-- One place for what gave up: when and why a message died, events that make no sense, and who replayed or purged what.

-- Set exactly while a message is `dead`, by a trigger, so that the program before this one keeps it as well. Rows that died
-- before are few; the rest of the table is only read.
ALTER TABLE messages
    ADD COLUMN dead_at timestamptz,
    ADD COLUMN dead_kind text;
UPDATE messages SET dead_at = updated_at, dead_kind = 'attempts_exhausted' WHERE state = 'dead';
ALTER TABLE messages
    ADD CONSTRAINT messages_dead CHECK ((state = 'dead') = (dead_at IS NOT NULL)
        AND (dead_at IS NULL) = (dead_kind IS NULL)) NOT VALID,
    ADD CONSTRAINT messages_dead_kind CHECK (dead_kind IN ('attempts_exhausted', 'poison')) NOT VALID;
COMMENT ON COLUMN messages.dead_kind IS 'Why it is dead; its last error is in error_code and error_reason.';

CREATE FUNCTION mark_dead() RETURNS trigger LANGUAGE plpgsql SET search_path = app, pg_temp AS $$
BEGIN
    IF NEW.state = 'dead' THEN
        NEW.dead_at := now();
        NEW.dead_kind := coalesce(NEW.dead_kind, 'attempts_exhausted');
    ELSE
        NEW.dead_at := NULL;
        NEW.dead_kind := NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER messages_die BEFORE UPDATE OF state ON messages
    FOR EACH ROW WHEN ((OLD.state = 'dead') <> (NEW.state = 'dead')) EXECUTE FUNCTION mark_dead();
-- Before the first release: no installation has rows that this index would make wait.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX messages_dead ON messages (tenant_id, id) INCLUDE (dead_at, dead_kind) WHERE dead_at IS NOT NULL;

-- An event that cannot be applied, beside the broker's letters. While its letter is open, or was purged, nobody tries again.
ALTER TABLE dead_letters
    ADD COLUMN event_id uuid,
    ADD CONSTRAINT dead_letters_resolution CHECK (resolution IN ('replayed', 'purged')
        AND (resolution IS NULL) = (resolved_at IS NULL)) NOT VALID;
-- Before the first release: no installation has rows that this index would make wait.
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX dead_letters_event ON dead_letters (tenant_id, event_id)
    WHERE event_id IS NOT NULL AND resolution IS DISTINCT FROM 'replayed';

CREATE TABLE dead_letter_actions (
    id uuid PRIMARY KEY,
    operation_id uuid NOT NULL,
    tenant_id uuid,
    action text NOT NULL CHECK (action IN ('replay', 'purge')),
    requested_by text NOT NULL CHECK (length(requested_by) BETWEEN 1 AND 200),
    reason text NOT NULL CHECK (length(reason) <= 1000 AND (action = 'replay' OR reason <> '')),
    forced boolean NOT NULL,
    letters uuid[] NOT NULL,
    skipped integer NOT NULL CHECK (skipped >= 0),
    acted_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE dead_letter_actions IS 'Who replayed or purged which letters, when and why: one row per transaction that moved them. Append-only.';
CREATE INDEX dead_letter_actions_tenant ON dead_letter_actions (tenant_id, id);

ALTER TABLE dead_letter_actions ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON dead_letter_actions TO app_rw
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_rows ON dead_letter_actions TO app_system USING (true) WITH CHECK (true);
CREATE POLICY audit_rows ON dead_letter_actions FOR SELECT TO readonly_audit USING (true);
REVOKE UPDATE, DELETE ON dead_letter_actions FROM app_rw, app_system;
