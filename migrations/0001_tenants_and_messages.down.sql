DROP TABLE nodes, partition_owner, idempotency_keys, dead_letters, suppressions, other_events, events,
    message_attempts, messages, campaign_counts, campaigns, templates, senders, plan_assignments, api_keys,
    tenants, plans, installation;
