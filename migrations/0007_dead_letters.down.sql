DROP TABLE dead_letter_actions;
DROP INDEX dead_letters_event;
ALTER TABLE dead_letters DROP CONSTRAINT dead_letters_resolution, DROP COLUMN event_id;
DROP INDEX messages_dead;
DROP TRIGGER messages_die ON messages;
DROP FUNCTION mark_dead();
ALTER TABLE messages
    DROP CONSTRAINT messages_dead_kind,
    DROP CONSTRAINT messages_dead,
    DROP COLUMN dead_kind,
    DROP COLUMN dead_at;
