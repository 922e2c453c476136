-- The shape alone: plain tokens are gone. Programs of this release go on with the sealed ones.
ALTER TABLE senders ADD COLUMN access_token text NOT NULL DEFAULT '';
ALTER TABLE senders ALTER COLUMN access_token DROP DEFAULT;
ALTER TABLE senders DROP CONSTRAINT senders_token_sealed;
CREATE FUNCTION forget_sealed_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.access_token IS DISTINCT FROM OLD.access_token AND NEW.token_sealed IS NOT DISTINCT FROM OLD.token_sealed THEN
        NEW.token_sealed := NULL;
        NEW.token_key_id := NULL;
    END IF;
    RETURN NEW;
END
$$;
GRANT EXECUTE ON FUNCTION forget_sealed_token() TO app_rw, app_system;
CREATE TRIGGER senders_forget_sealed_token BEFORE UPDATE OF access_token ON senders
    FOR EACH ROW EXECUTE FUNCTION forget_sealed_token();
