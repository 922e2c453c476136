ALTER TABLE senders
    DROP COLUMN held_until,
    DROP COLUMN held_because,
    DROP COLUMN holds,
    DROP COLUMN token_changed_at;
DROP INDEX senders_account;
DROP INDEX other_events_unapplied;
ALTER TABLE other_events
    DROP COLUMN happened_at,
    DROP COLUMN applied_at,
    DROP COLUMN outcome;
DROP TABLE meta_states;
DROP TABLE campaign_samples;
DROP INDEX messages_causes;
DROP INDEX messages_canary_due;
DROP INDEX messages_canary;
ALTER TABLE messages DROP COLUMN is_canary;
DROP TABLE campaign_canaries;
DROP TRIGGER campaign_events ON campaigns;
DROP FUNCTION record_campaign_event();
DROP TABLE campaign_events;
DROP INDEX campaigns_paused;
ALTER TABLE campaigns
    DROP COLUMN sending_window,
    DROP COLUMN paused_at;
