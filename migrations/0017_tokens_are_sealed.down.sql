-- Sealed tokens may stay: nothing of this migration harms the program before it. The constraint forgets that it was validated.
ALTER TABLE senders DROP CONSTRAINT senders_token_key;
ALTER TABLE senders ADD CONSTRAINT senders_token_key CHECK ((token_sealed IS NULL) = (token_key_id IS NULL)) NOT VALID;
