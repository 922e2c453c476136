-- phase: backfill
-- Nothing is left to seal. Programs of the release before still work afterwards, and may add plain tokens until the contract.

DO $$
DECLARE
    plain bigint;
BEGIN
    SELECT count(*) INTO plain FROM senders WHERE token_sealed IS NULL;
    IF plain > 0 THEN
        RAISE EXCEPTION '% access tokens are stored in plain text only', plain
            USING HINT = 'run `malote secrets rotate-key`, then `malote migrate up` again';
    END IF;
END
$$;
ALTER TABLE senders VALIDATE CONSTRAINT senders_token_key;
