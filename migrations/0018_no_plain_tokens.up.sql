-- phase: contract
-- requires-app: 0.2.0
-- critical: yes
-- Access tokens are stored sealed and in no other way. The table has a row per number: the check reads all of it in no time.

ALTER TABLE senders ADD CONSTRAINT senders_token_sealed CHECK (token_sealed IS NOT NULL) NOT VALID;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE senders VALIDATE CONSTRAINT senders_token_sealed;
DROP TRIGGER senders_forget_sealed_token ON senders;
-- squawk-ignore ban-drop-function
DROP FUNCTION forget_sealed_token();
-- squawk-ignore ban-drop-column
ALTER TABLE senders DROP COLUMN access_token;
