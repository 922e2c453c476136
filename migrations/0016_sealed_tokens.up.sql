-- phase: expand
-- Senders' access tokens, sealed: under a key of their own that the installation's key wraps (src/storage/sealing.rs). Programs of the
-- release before go on with `access_token`; this release writes both and prefers the sealed one.

ALTER TABLE senders ADD COLUMN token_sealed bytea, ADD COLUMN token_key_id text;
ALTER TABLE senders ADD CONSTRAINT senders_token_key CHECK ((token_sealed IS NULL) = (token_key_id IS NULL)) NOT VALID;
COMMENT ON COLUMN senders.token_key_id IS 'Which of the keys in the secret token_keys wraps the token.';

-- A program of the release before renews a token in plain text only: what is sealed is the old one then, and must not be preferred.
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
