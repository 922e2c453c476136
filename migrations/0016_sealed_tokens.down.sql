DROP TRIGGER senders_forget_sealed_token ON senders;
DROP FUNCTION forget_sealed_token();
ALTER TABLE senders DROP CONSTRAINT senders_token_key, DROP COLUMN token_key_id, DROP COLUMN token_sealed;
