"""What the dashboards show: one for each question that an operator asks. dev/operations/dashboards.py makes Grafana's JSON of it.

A panel is a kind, a title, what it means, a unit and its queries with their legends. `N` narrows a query to the chosen nodes.
"""

N = 'job="malote", instance=~"$instance"'


def rate(metric, by, also=""):
    return f"sum by ({by}) (rate({metric}{{{N}{', ' + also if also else ''}}}[$__rate_interval]))"


def quantile(share, metric, by=""):
    kept = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({kept}) (rate({metric}_bucket{{{N}}}[$__rate_interval])))"


def quantile_of(share, metric, also):
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{{{N}, {also}}}[$__rate_interval])))"


def stat(title, words, unit, expression, legend):
    return ("stat", title, words, unit, [(expression, legend)])


def lines(title, words, unit, *queries):
    return ("timeseries", title, words, unit, list(queries))


SETTLED, CALL = "malote_messages_settled_total", "malote_meta_call_seconds"
OVERVIEW = ("overview", "overview and objectives", "Is it well, and is it as well as promised?", [
    ("Is it well?", [
        stat("Nodes up", "Processes that answer their metrics.", "short", 'sum(up{job="malote", instance=~"$instance"})', "nodes"),
        stat("Accepted a second", "Messages that Meta took.", "ops", f'sum(rate({SETTLED}{{{N}, verdict="accepted"}}[$__rate_interval]))', "accepted"),
        stat("Statuses a second", "Statuses stored for the first time.", "ops", f"sum(rate(malote_webhook_statuses_total{{{N}}}[$__rate_interval]))", "statuses"),
        stat("Alerts firing", "Without the one that always does.", "short", 'count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)', "alerts"),
    ]),
    ("The API", [
        stat("Availability, an hour", "Share of tenants' requests that were not answered 5xx.", "percentunit", '1 - slo:error_ratio:1h{slo="api_availability"}', "available"),
        stat("p95", "Nineteen of twenty requests of tenants are quicker; files are not counted.", "s", quantile_of("0.95", "malote_http_request_seconds", 'class="api"'), "p95"),
        stat("Errors a second", "Answers 5xx.", "ops", f'sum(rate(malote_http_requests_total{{{N}, status="5xx"}}[$__rate_interval]))', "5xx"),
        stat("Budget left", "Of the month's 0.1 %; below zero the objective is missed.", "percentunit", 'slo:budget_left:30d{slo="api_availability"}', "left"),
        lines("Requests", "By kind and class of the answer.", "ops", (rate("malote_http_requests_total", "class, status"), "{{class}} {{status}}")),
        lines("Time of a request, p95", "By kind; an upload takes as long as its file.", "s", (quantile(0.95, "malote_http_request_seconds", "class"), "{{class}}")),
        lines("Errors by route", "Routes that answer 5xx.", "ops",
              (f'sum by (method, route) (rate(malote_http_requests_total{{{N}, status="5xx"}}[$__rate_interval])) > 0', "{{method}} {{route}}")),
        lines("Turned away", "Too many at once, too often, with a wrong key; and answers that the API's document does not name.", "ops",
              (f"sum(rate(malote_api_requests_shed_total{{{N}}}[$__rate_interval]))", "shed"),
              (f"sum(rate(malote_api_requests_limited_total{{{N}}}[$__rate_interval]))", "limited"),
              (f"sum(rate(malote_api_wrong_keys_total{{{N}}}[$__rate_interval]))", "wrong keys"),
              (f"sum(rate(malote_api_undocumented_answers_total{{{N}}}[$__rate_interval]))", "undocumented")),
    ]),
    ("Objectives", [
        lines("Share that fails, an hour", "Each objective over the last hour; what it bears is docs/slo.md.", "percentunit", ("slo:error_ratio:1h", "{{slo}}")),
        lines("Budget left, 30 days", "Below zero the objective of the month is missed.", "percentunit", ("slo:budget_left:30d", "{{slo}}")),
        lines("Share that fails now", "The last five minutes.", "percentunit", ("slo:error_ratio:5m", "{{slo}}")),
        lines("Objectives", "The share that must succeed.", "percentunit", ("slo:objective", "{{slo}}")),
    ]),
])
PIPELINE = ("pipeline", "pipeline", "Do messages move from planned to settled, and where do they wait?", [
    ("Flow", [
        lines("Attempts that end", "By where their message went.", "ops", (rate(SETTLED, "verdict"), "{{verdict}}")),
        lines("Planned into the inboxes", "And given back because nobody claimed them.", "ops",
              (f"sum(rate(malote_planner_queued_messages_total{{{N}}}[$__rate_interval]))", "queued"),
              (f"sum(rate(malote_planner_given_back_messages_total{{{N}}}[$__rate_interval]))", "given back")),
        lines("In flight", "Attempts between their proposal and their stored outcome.", "short", (f"sum by (instance) (malote_messages_in_flight{{{N}}})", "{{instance}}")),
        lines("Held back", "By the limit that held messages back before their call.", "ops", (rate("malote_messages_held_back_total", "scope"), "{{scope}}")),
    ]),
    ("Waiting", [
        lines("Due to accepted, p95", "From when a message is due until Meta has accepted it; one of a campaign is due when its number has room.", "s",
              (quantile(0.95, "malote_message_due_to_accepted_seconds", "lane"), "{{lane}}")),
        lines("Event to settled, p95", "From a status by Meta's clock until it is applied.", "s", (quantile(0.95, "malote_event_to_settled_seconds"), "p95")),
        lines("Oldest queued message", "How long it has waited in an inbox; every planner shows the same.", "s", (f"max(malote_messages_oldest_queued_seconds{{{N}}})", "oldest")),
        lines("Paused campaigns", "By reason; and those that were paused not by hand.", "short", (f"max by (reason) (malote_campaigns_paused_now{{{N}}})", "{{reason}}"),
              (f"max by (reason) (increase(malote_campaigns_paused_automatically_total{{{N}}}[$__rate_interval]))", "new {{reason}}")),
        lines("Deliveries in RabbitMQ", "Ready, and taken but not acknowledged.", "short",
              ('sum(rabbitmq_queue_messages_ready{job="rabbitmq"})', "ready"), ('sum(rabbitmq_queue_messages_unacked{job="rabbitmq"})', "unacknowledged")),
        lines("Dead letters", "Open ones by kind; every planner shows the same.", "short", (f"max by (kind) (malote_dead_letters_open{{{N}}})", "{{kind}}")),
        lines("Oldest dead letter", "How long it has waited.", "s", (f"max by (kind) (malote_dead_letters_oldest_seconds{{{N}}})", "{{kind}}")),
        lines("Events published again", "Stored ones that nobody applied within a minute; and rounds of the planner that failed.", "ops",
              (f"sum(rate(malote_planner_republished_events_total{{{N}}}[$__rate_interval]))", "republished"),
              (f"sum(rate(malote_planner_failures_total{{{N}}}[$__rate_interval]))", "failed rounds")),
    ]),
    ("Partitions", [
        lines("Owned and waited for", "Owned by a node, and those that it stands in line for.", "short",
              (f"sum by (instance) (malote_partitions_owned{{{N}}})", "owned {{instance}}"),
              (f"max by (instance) (malote_partitions_registered{{{N}}})", "registered {{instance}}")),
        lines("Changes of owner", "Epochs, handovers to the preferred node, and owners that learned it late.", "ops",
              (f"sum(rate(malote_partition_epochs_total{{{N}}}[$__rate_interval]))", "epochs"),
              (f"sum(rate(malote_partition_rebalances_total{{{N}}}[$__rate_interval]))", "rebalances"),
              (f"sum(rate(malote_partitions_superseded_total{{{N}}}[$__rate_interval]))", "superseded")),
        lines("Takeover and handover, p95", "How long a partition is without service.", "s",
              (quantile(0.95, "malote_partition_takeover_seconds"), "takeover"), (quantile(0.95, "malote_partition_handover_seconds"), "handover")),
        lines("Lapses of leases", "Times that a node was silent for too long to call Meta.", "ops", (rate("malote_node_lease_lapses_total", "instance"), "{{instance}}")),
    ]),
])
ACTORS = ("actors", "actors", "Do the actors of tenants keep up, and do any keep failing?", [
    ("Work", [
        lines("Depth", "Work inside of actors: all of a kind, and the deepest one.", "short", (f"sum by (kind, stat) (malote_actor_queue_depth{{{N}}})", "{{kind}} {{stat}}")),
        lines("Time in the mailbox, p99", "From being sent to being handled.", "s", (quantile(0.99, "malote_actor_time_in_mailbox_seconds", "kind"), "{{kind}}")),
        lines("Time in the handler, p99", "How long a handler keeps its actor busy.", "s", (quantile(0.99, "malote_actor_handler_seconds", "kind"), "{{kind}}")),
        lines("Waiting for room", "Deliveries that wait at an actor's gate.", "short", (f"sum by (kind) (malote_actor_gate_waiters{{{N}}})", "{{kind}}")),
    ]),
    ("Lives", [
        lines("Alive", "Actors that take memory; sleeping ones do not.", "short", (f"sum by (kind) (malote_actors_alive{{{N}}})", "{{kind}}")),
        lines("Restarts", "By kind and cause.", "ops", (rate("malote_actor_restarts_total", "kind, cause"), "{{kind}} {{cause}}")),
        lines("Escalations and quarantines", "Actors that asked their tenant to decide, and tenants that were given up.", "ops",
              (rate("malote_actor_escalations_total", "kind"), "{{kind}}"), (f"sum(rate(malote_quarantines_total{{{N}}}[$__rate_interval]))", "quarantines")),
        lines("Tenants", "By state, of the partitions of these nodes.", "short", (f"sum by (state) (malote_tenants{{{N}}})", "{{state}}")),
    ]),
])
META = ("meta", "Meta", "How does Meta answer?", [
    ("Calls", [
        lines("Errors", "Attempts that ended without acceptance, by class.", "ops", (rate(SETTLED, "verdict, class", 'verdict!="accepted"'), "{{verdict}} {{class}}")),
        lines("Time of a call", "Half, nineteen of twenty, and ninety-nine of a hundred are quicker.", "s",
              (quantile(0.5, CALL), "p50"), (quantile(0.95, CALL), "p95"), (quantile(0.99, CALL), "p99")),
        lines("Throttled", "By scope.", "ops", (rate(SETTLED, "class", 'class=~"throttle_.+"'), "{{class}}")),
        lines("Breaker", "1 for the state in which each node's breaker is.", "short", (f"max by (state) (malote_meta_breaker{{{N}}})", "{{state}}")),
    ]),
    ("Doubt", [
        lines("Openings of the breaker", "How often Meta counted as down.", "ops", (rate("malote_meta_breaker_openings_total", "instance"), "{{instance}}")),
        lines("Became unknown", "By why the outcome is not known.", "ops", (rate("malote_messages_unknown_total", "cause"), "{{cause}}")),
        lines("Unknown no more", "By what settled it.", "ops", (rate("malote_messages_unknown_settled_total", "by"), "{{by}}")),
        lines("Asked Meta's history", "Questions, and statuses first known from there.", "ops",
              (f"sum(rate(malote_history_questions_total{{{N}}}[$__rate_interval]))", "questions"), (f"sum(rate(malote_history_statuses_total{{{N}}}[$__rate_interval]))", "statuses")),
    ]),
])
WEBHOOKS = ("webhooks", "webhooks and security", "Do Meta's webhooks arrive, and who else knocks?", [
    ("Deliveries", [
        lines("Accepted", "Stored and answered 200, by door; and those of which all was known.", "ops",
              (rate("malote_webhook_deliveries_accepted_total", "door"), "{{door}}"), (rate("malote_webhook_deliveries_repeated_total", "door"), "{{door}} repeated")),
        lines("Time to acknowledge", "From a delivery's head to its answer 200.", "s",
              (quantile(0.5, "malote_webhook_acknowledgement_seconds"), "p50"), (quantile(0.95, "malote_webhook_acknowledgement_seconds"), "p95"),
              (quantile(0.99, "malote_webhook_acknowledgement_seconds"), "p99")),
        lines("Refused", "By door and reason.", "ops", (rate("malote_webhook_deliveries_refused_total", "door, reason"), "{{door}} {{reason}}")),
        lines("Updates", "By field, and statuses stored for the first time.", "ops",
              (rate("malote_webhook_updates_total", "field", 'field=~"messages|message_template.*|phone_number.*|account.*|user_preferences|unknown"'), "{{field}}")),
        lines("Late", "Updates that came more than five minutes after they happened.", "ops", (rate("malote_webhook_late_updates_total", "instance"), "{{instance}}")),
    ]),
    ("Security", [
        lines("Replays at the relay's door", "Attempts whose nonce had been seen.", "ops", (rate("malote_webhook_replays_total", "instance"), "{{instance}}")),
        lines("Others' accounts", "Updates about a number or an account that is not the tenant's.", "ops", (rate("malote_webhook_security_events_total", "reason"), "{{reason}}")),
        lines("Set aside", "Updates that are kept and not acted on.", "ops", (rate("malote_webhook_quarantined_total", "reason"), "{{reason}}")),
        lines("Unheard-of messages", "Messages of users of a type that nobody here knows.", "ops", (rate("malote_webhook_unknown_messages_total", "instance"), "{{instance}}")),
    ]),
])
BILLING = ("billing", "billing", "Is what happens settled in the books without delay?", [
    ("The ledger's writer", [
        lines("Oldest work", "How long BillingCounter's oldest work has waited.", "s", (f'max by (instance) (malote_actor_oldest_waiting_seconds{{{N}, kind="billing_counter"}})', "{{instance}}")),
        lines("Time in its handler, p99", "Decisions of claims and settlements, without the commit.", "s", (quantile(0.99, "malote_actor_handler_seconds", "kind"), "{{kind}}")),
        lines("Billable outcomes", "What is reserved, freed and captured follows from these.", "ops", (rate(SETTLED, "verdict"), "{{verdict}}")),
        lines("Oldest unapplied event", "Since it was stored; and how many there are.", "s", (f"max(malote_events_oldest_unapplied_seconds{{{N}}})", "oldest")),
        lines("Unapplied events", "Stored, and not yet applied to messages and the ledger.", "short", (f"max(malote_events_unapplied{{{N}}})", "events")),
        lines("Fresh looks", "Share of looks at which every event was applied in time.", "percentunit",
              (f'sum(rate(malote_billing_freshness_looks_total{{{N}, fresh="yes"}}[$__rate_interval])) / sum(rate(malote_billing_freshness_looks_total{{{N}}}[$__rate_interval]))', "fresh")),
        lines("Statuses to settle", "New statuses, and stored events published again because nobody applied them.", "ops",
              (f"sum(rate(malote_webhook_statuses_total{{{N}}}[$__rate_interval]))", "statuses"),
              (f"sum(rate(malote_planner_republished_events_total{{{N}}}[$__rate_interval]))", "republished")),
    ]),
    ("The books", [
        lines("Faults", "What the last run of each check found wrong.", "short", (f"max by (task) (malote_billing_findings{{{N}}})", "{{task}}")),
        lines("Age of the last run", "More than twice a job's time means that a run was missed.", "s", (f"max by (task) (malote_billing_job_age_seconds{{{N}}})", "{{task}}")),
        lines("Jobs", "Runs that ended, and those that a dependency failed.", "ops", (rate("malote_billing_job_runs_total", "task"), "{{task}}"),
              (rate("malote_billing_job_failures_total", "task"), "{{task}} failed")),
        lines("Periods closed, old holds given back", "Each period gets its invoice in the same transaction.", "ops", (f"sum(rate(malote_billing_closed_periods_total{{{N}}}[$__rate_interval]))", "periods"),
              (f"sum(rate(malote_billing_expired_holds_total{{{N}}}[$__rate_interval]))", "old holds given back")),
        lines("What Meta charged otherwise", "Another category than was reserved; messages that no rate card has a price for.", "ops",
              (f"sum(rate(malote_billing_drifted_messages_total{{{N}}}[$__rate_interval]))", "another category"),
              (f"sum(rate(malote_billing_unpriced_messages_total{{{N}}}[$__rate_interval]))", "without a rate")),
    ]),
])
DEPENDENCIES = ("dependencies", "dependencies", "Are RabbitMQ, PostgreSQL and Redis well?", [
    ("Up", [
        stat("RabbitMQ", "1 while its metrics answer.", "short", 'min(up{job="rabbitmq"})', "RabbitMQ"),
        stat("PostgreSQL", "1 while it answers its exporter.", "short", "min(pg_up)", "PostgreSQL"),
        stat("Redis", "1 while it answers its exporter.", "short", "min(redis_up)", "Redis"),
        lines("Targets", "What Prometheus asks: 1 answers, 0 does not.", "short", ("up", "{{job}} {{instance}}")),
    ]),
    ("As Malote sees them", [
        lines("Reached", "1 while a process has an answer.", "short", (f"min by (instance, dependency) (malote_dependency_up{{{N}}})", "{{dependency}} {{instance}}")),
        lines("Time of a look, p95", "RabbitMQ's is a new connection.", "s", (quantile(0.95, "malote_dependency_check_seconds", "dependency"), "{{dependency}}")),
        lines("Connections of pools", "In use, against the most.", "short", (f'sum by (pool, state) (malote_pool_connections{{{N}, state=~"used|most"}})', "{{pool}} {{state}}")),
        lines("Waiting for a connection", "Callers that wait now, and on average.", "short", (f"sum by (pool) (malote_pool_waiting{{{N}}})", "{{pool}}"),
              (f"sum by (pool) (rate(malote_pool_wait_seconds_total{{{N}}}[$__rate_interval]))", "{{pool}} on average")),
        lines("Connections asked for", "Given at once, after a wait, or not in time.", "ops", (rate("malote_pool_gets_total", "pool, outcome"), "{{pool}} {{outcome}}")),
    ]),
    ("Secrets", [
        lines("Age", "Since the source of each secret in use last changed.", "s", (f"max by (secret) (malote_secret_age_seconds{{{N}}}) > 0", "{{secret}}")),
        lines("In use for", "Since the value in use was taken.", "s", (f"time() - (min by (secret) (malote_secret_loaded_timestamp_seconds{{{N}}}) > 0)", "{{secret}}")),
        lines("Renewals", "New values that were taken, and looks that failed.", "ops", (rate("malote_secret_renewals_total", "secret"), "{{secret}}"),
              (rate("malote_secret_reload_failures_total", "secret"), "{{secret}} failed")),
    ]),
    ("RabbitMQ", [
        lines("Deliveries", "Published and acknowledged.", "ops", ('sum(rate(rabbitmq_global_messages_received_total{job="rabbitmq"}[$__rate_interval]))', "published"),
              ('sum(rate(rabbitmq_global_messages_acknowledged_total{job="rabbitmq"}[$__rate_interval]))', "acknowledged")),
        lines("Disk left", "It blocks publishers at its limit.", "bytes", ('rabbitmq_disk_space_available_bytes{job="rabbitmq"}', "{{instance}}")),
        lines("Memory", "Share of its limit.", "percentunit", ('rabbitmq_process_resident_memory_bytes{job="rabbitmq"} / rabbitmq_resident_memory_limit_bytes{job="rabbitmq"}', "{{instance}}")),
        lines("Connections that end", "Many in a row are a fault.", "ops", ('sum(rate(rabbitmq_connections_closed_total{job="rabbitmq"}[$__rate_interval]))', "closed")),
    ]),
    ("PostgreSQL and Redis", [
        lines("Commits", "By database.", "ops", ("sum by (datname) (rate(pg_stat_database_xact_commit[$__rate_interval]))", "{{datname}}")),
        lines("Connections", "By state, against the most.", "short", ("sum by (state) (pg_stat_activity_count)", "{{state}}"), ("max(pg_settings_max_connections)", "most")),
        lines("Size", "By database.", "bytes", ("sum by (datname) (pg_database_size_bytes)", "{{datname}}")),
        lines("Redis' memory", "What it uses.", "bytes", ("redis_memory_used_bytes", "{{instance}}")),
    ]),
])
TENANTS = ("tenants", "tenants", "Which tenants need a look? Only the most noticeable are named.", [
    ("Most noticeable", [
        lines("Deepest", "The tenants with the most work inside of an actor, at most five of a kind and node.", "short",
              (f"topk(10, max by (kind, tenant) (malote_actor_queue_depth_deepest{{{N}}}))", "{{kind}} {{tenant}}")),
        lines("In quarantine", "Their campaigns are paused; GET /admin/v1/quarantine says why.", "short", (f"max by (tenant) (malote_tenant_quarantined{{{N}}})", "{{tenant}}")),
        lines("States", "How many tenants are active, restarting, parked or in quarantine.", "short", (f"sum by (state) (malote_tenants{{{N}}})", "{{state}}")),
        lines("Quarantines", "Tenants that were given up.", "ops", (rate("malote_quarantines_total", "instance"), "{{instance}}")),
    ]),
])
NODE = ("node", "node", "Has the machine enough of everything?", [
    ("Machine", [
        lines("Processor", "Share in use.", "percentunit", ('1 - avg by (instance) (rate(node_cpu_seconds_total{job="host", mode="idle"}[$__rate_interval]))', "{{instance}}")),
        lines("Memory left", "Available without swapping.", "bytes", ('node_memory_MemAvailable_bytes{job="host"}', "{{instance}}")),
        lines("Disk left", "Share by mount point.", "percentunit",
              ('node_filesystem_avail_bytes{job="host", fstype!~"tmpfs|overlay|squashfs"} / node_filesystem_size_bytes{job="host", fstype!~"tmpfs|overlay|squashfs"}', "{{instance}} {{mountpoint}}")),
        lines("Disk busy", "Share of the time.", "percentunit", ('sum by (instance, device) (rate(node_disk_io_time_seconds_total{job="host"}[$__rate_interval]))', "{{instance}} {{device}}")),
    ]),
    ("What Prometheus stores", [
        lines("Series", "What each process shows; bounded whatever the number of tenants.", "short", ('scrape_samples_scraped{job="malote"}', "{{instance}}")),
    ]),
])
ALL = [OVERVIEW, PIPELINE, ACTORS, META, WEBHOOKS, BILLING, DEPENDENCIES, TENANTS, NODE]
# Queries that return nothing in peace, and why.
QUIET = {
    "malote_tenant_quarantined": "a series exists only while a tenant is in quarantine",
    "malote_actor_queue_depth_deepest": "a series exists only while an actor has work",
    "throttle_": "a class is shown once Meta has answered with it",
    'verdict!="accepted"': "a verdict is shown once an attempt has ended with it",
    "slo:": "long windows need events",
    'status="5xx"}[$__rate_interval])) > 0': "a route is shown while it answers 5xx",
    "secret_age": "a secret is shown once somebody has asked for it",
    "secret_loaded": "a secret is shown once somebody has asked for it",
}
