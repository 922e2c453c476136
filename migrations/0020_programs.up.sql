-- phase: expand
-- When each version of the program was last alive, also after its nodes have left the list or came back as another version: what a
-- contract waits for (src/storage/migrator/gate.rs). By a trigger, so that programs of the release before are noted as well.

CREATE TABLE programs (
    version text PRIMARY KEY,
    seen_at timestamptz NOT NULL
);
COMMENT ON COLUMN programs.seen_at IS 'To the minute: heartbeats come each second.';
INSERT INTO programs (version, seen_at) SELECT version, max(heartbeat_at) FROM nodes GROUP BY version;
REVOKE INSERT, UPDATE, DELETE ON programs FROM app_rw;
REVOKE DELETE ON programs FROM app_system;

CREATE FUNCTION note_program() RETURNS trigger LANGUAGE plpgsql SET search_path = app, pg_temp AS $$
DECLARE
    node nodes;
BEGIN
    IF TG_OP = 'DELETE' THEN
        node := OLD;
    ELSE
        node := NEW;
    END IF;
    -- Most heartbeats end here, and lock nothing.
    IF NOT EXISTS (SELECT FROM programs p WHERE p.version = node.version AND p.seen_at > node.heartbeat_at - interval '1 minute') THEN
        INSERT INTO programs (version, seen_at) VALUES (node.version, node.heartbeat_at)
            ON CONFLICT (version) DO UPDATE SET seen_at = greatest(programs.seen_at, excluded.seen_at);
    END IF;
    RETURN NULL;
END
$$;
GRANT EXECUTE ON FUNCTION note_program() TO app_system;
CREATE TRIGGER nodes_note_program AFTER INSERT OR UPDATE OR DELETE ON nodes FOR EACH ROW EXECUTE FUNCTION note_program();
