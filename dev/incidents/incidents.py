"""What is broken, how it is mended again, and which alerts may be the first to tell."""

import base64
import hashlib
import hmac
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections import namedtuple

from drill_stage import Failed, eventually

# `alerts`: any of these may tell of it first. `run` breaks something, gives control back until it is mended: a generator with one step.
Incident = namedtuple("Incident", "name what alerts run")
LETTERS, REPLAYS = 200, 40
DOWN_MS = 90_000
# Shorter than what callers wait for a lock (deploy/postgres/roles.sql): they are slow and not refused.
HELD_FOR = 1.5


def meta_refuses(share):
    def broken(stage):
        stage.faults(transient_error_share=share)
        yield
        stage.faults()
        replay(stage)
    return broken


def replay(stage):
    """What an operator does once Meta is well: what gave up meanwhile is tried again."""
    for kind in ("transient", "outage"):
        stage.command("dead-letters", "replay", "--class", kind, "--by", "drill")


def meta_down(stage):
    begun = time.time()
    stage.call(f"http://127.0.0.1:{stage.simulator}/_control/down", {"for_ms": DOWN_MS})
    yield
    time.sleep(max(0.0, begun + DOWN_MS / 1000 - time.time()))


def letters_flood(stage):
    """Deliveries that nobody can read, published to an inbox by a program that should not."""
    host = stage.stack.environment["MALOTE_STACK_MANAGEMENT"]
    basic = base64.b64encode(f"malote:{stage.stack.password('rabbitmq')}".encode()).decode()
    held = {"Authorization": f"Basic {basic}"}
    queues = [queue["name"] for queue in stage.call(f"http://{host}/api/queues/%2F", headers=held) if queue["name"].startswith("inbox.0")]
    for number in range(LETTERS):
        letter = {"properties": {}, "routing_key": queues[number % len(queues)], "payload": f"nobody reads this {number}", "payload_encoding": "string"}
        routed = stage.call(f"http://{host}/api/exchanges/%2F/amq.default/publish", letter, held)
        if not routed["routed"]:
            raise Failed("RabbitMQ has no such inbox")
    yield
    stage.command("dead-letters", "purge", "--kind", "undecodable", "--by", "drill", "--reason", "published by the drill")


def api_slow(stage):
    """A session that locks the table by which keys are checked, again and again, as a careless migration would."""
    session, stopped = stage.stack.session("malote"), threading.Event()

    def lock():
        while not stopped.is_set():
            session.ask(f"BEGIN; LOCK TABLE app.api_keys IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({HELD_FOR}); COMMIT")
            time.sleep(0.1)

    worker = threading.Thread(target=lock)
    worker.start()
    yield
    stopped.set()
    worker.join()
    session.close()


def consumers_stalled(stage):
    """Consumers run and get nowhere: each claim waits for a lock that somebody holds in PostgreSQL."""
    session = stage.stack.session("malote")
    session.ask("BEGIN; LOCK TABLE app.billing_head IN EXCLUSIVE MODE")
    yield
    session.ask("ROLLBACK")
    session.close()


def crash_loop(stage):
    """An actor of the largest customer panics on each message, on whichever node it lives."""
    tenant = stage.tenant()
    fault = {"tenant_id": tenant, "child": "send_queue", "step": "handle", "deed": "panic"}
    for node in stage.nodes:
        stage.operator(node, "/admin/v1/faults", fault)
    yield
    for node in stage.nodes:
        stage.operator(node, "/admin/v1/faults", method="DELETE")
    release(stage, tenant)


def release(stage, tenant):
    """As the runbook has it; a tenant whose actors came up again by themselves needs none."""
    held = stage.operator(stage.nodes[0], "/admin/v1/quarantine")["items"]
    if any(tenant in str(one) for one in held):
        stage.operator(stage.nodes[0], f"/admin/v1/tenants/{tenant}/release", {})


def replay_storm(stage):
    """One attempt of a relay, posted again and again by somebody who recorded it."""
    body, moment, nonce = b'{"object":"whatsapp_business_account","entry":[]}', str(int(time.time())), secrets.token_hex(16)
    signed = b".".join([b"drill", moment.encode(), nonce.encode(), body])
    signature = base64.b64encode(hmac.new(stage.relay_key.encode(), signed, hashlib.sha256).digest()).decode()
    headers = {"webhook-id": "drill", "webhook-timestamp": moment, "webhook-nonce": nonce, "webhook-signature": f"v1,{signature}"}
    refused = 0
    for _ in range(REPLAYS):
        try:
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{stage.public}/webhooks/relay", body, headers), timeout=10)
        except urllib.error.HTTPError as error:
            refused += error.code == 409
    if refused != REPLAYS - 1:
        raise Failed(f"{refused} of {REPLAYS - 1} replays were refused")
    yield


def node_killed(stage):
    node = stage.nodes[1]
    stage.kill(node)
    yield
    stage.start(node)
    eventually("the killed node is ready again", 120, lambda: stage.is_ready(node))


def stopped(server):
    def broken(stage):
        stage.stack.do("stop", server)
        yield
        stage.stack.do("start", server)
        eventually("both nodes are ready again", 120, lambda: all(stage.is_ready(node) for node in stage.nodes))
    return broken


# In this order: two that the same alert tells of are as far apart as can be, and stops of dependencies come last.
ALL = [
    Incident("meta-errors-100", "Meta refuses every call", ("MessageAcceptanceOutage",), meta_refuses(1.0)),
    Incident("dead-letter-flood", f"{LETTERS} deliveries that nobody can read", ("DeadLettersArriving",), letters_flood),
    Incident("replay-storm", "a relay's attempt is replayed", ("WebhookReplays",), replay_storm),
    Incident("crash-loop", "an actor of a tenant panics on each message", ("TenantQuarantined", "ActorRestarts"), crash_loop),
    Incident("consumer-stalled", "consumers cannot claim", ("EventsNotApplied", "QueuedNotClaimed", "ActorBacklog"), consumers_stalled),
    Incident("meta-errors-20", "Meta refuses one call in five", ("MessageAcceptanceOutage",), meta_refuses(0.2)),
    Incident("api-latency", "the API waits for a lock in PostgreSQL", ("ApiSlow",), api_slow),
    Incident("node-killed", "one of two nodes is killed", ("MaloteTargetDown",), node_killed),
    Incident("meta-down", "Meta takes no connection", ("MetaBreakerOpen",), meta_down),
    Incident("redis-stopped", "Redis is stopped", ("RedisDown",), stopped("redis")),
    Incident("rabbitmq-stopped", "RabbitMQ is stopped", ("RabbitMQTargetDown",), stopped("rabbitmq")),
    Incident("postgresql-stopped", "PostgreSQL is stopped", ("PostgreSQLDown",), stopped("postgresql")),
]
SHORT = ("meta-errors-100", "node-killed")
