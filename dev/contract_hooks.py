"""What dev/contract tells schemathesis: ids that exist, and where to write what was answered.

Half of the valid requests get ids, plan codes and the like that exist, since no schema can say them; the other half keeps what was made up.
"""
import itertools, json, os, pathlib, time, zlib

import schemathesis

SEEDS = json.loads(os.environ["CONTRACT_SEEDS"])
ANSWERS = open(os.environ["CONTRACT_ANSWERS"], "a", buffering=1)
CAMPAIGNS = SEEDS["campaigns"]
# Numbers that no earlier run of this server has.
NUMBERS = itertools.count(200_000_000_000_000 + time.time_ns() // 1_000_000)
# The last word of a path of campaigns, and the campaign on which it succeeds whenever it is asked.
PURPOSES = {"launch": "launch", "pause": "pause", "resume": "resume", "cancel": "cancel", "recipients": "draft", "test": "pause"}


def seeded_id(label):
    words = label.split(" ", 1)[1].strip("/").split("/")
    match words:
        case ["v1", "campaigns", _, *rest]:
            return CAMPAIGNS[PURPOSES.get(rest[-1] if rest else "", "draft")]
        case ["v1", "messages", *_]:
            return SEEDS["message"]
        case ["v1", "invoices", *_]:
            return SEEDS["invoice"]
        case ["v1", "senders", *_]:
            return SEEDS["sender"]
        case ["admin", "v1", "tenants", *_]:
            return SEEDS["idle"]
    return None


def whole_body(label):
    """A body of which no part can be made up: its parts must fit each other, or Meta's numbers."""
    match label:
        case "POST /v1/messages":
            return {"sender_id": SEEDS["sender"], "to": "+351916666666", "template": {"name": "hello_world", "language": "en_US"}}
        case "POST /v1/messages/unknown/settle":
            return {"ids": [SEEDS["message"]], "action": "fail"}
        case "POST /v1/senders":
            number = next(NUMBERS)
            return {"phone_number_id": str(number), "waba_id": f"9{number}", "display_phone_number": "+351 910 000 002",
                    "access_token": "a-token-of-the-contract"}
        case "PATCH /v1/senders/{id}":
            return {"messages_per_second": 2}
        case "PUT /v1/suppressions/{recipient}":
            return {"reason": "asked"}
        case "PUT /admin/v1/tenants/{id}/plan":
            return {"plan": SEEDS["plan"], "effective": "period_end"}
    return None


def made_up(case):
    """Whether a request keeps what was made up: half of them do, the same ones in every run."""
    text = json.dumps([case.operation.label, case.path_parameters, str(case.body)], sort_keys=True, default=str)
    return zlib.crc32(text.encode()) % 2 == 0


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive or made_up(case):
        return
    label = case.operation.label
    if label == "GET /webhooks/meta":
        token = pathlib.Path(os.environ["MALOTE_META__VERIFY_TOKEN_FILE"]).read_text().strip()
        case.query = {"hub.mode": "subscribe", "hub.verify_token": token, "hub.challenge": "1158201444"}
    if case.path_parameters:
        seeded = seeded_id(label)
        if seeded and "id" in case.path_parameters:
            case.path_parameters["id"] = seeded
        if "key_id" in case.path_parameters:
            case.path_parameters["key_id"] = SEEDS["spare"]
        if "recipient" in case.path_parameters:
            case.path_parameters["recipient"] = "+351918888888"
    if label == "POST /v1/campaigns/{id}/recipients":
        case.media_type, case.body = "text/csv", "recipient,name\n+351917777777,Ana\n"
    elif whole := whole_body(label):
        case.media_type, case.body = "application/json", whole
    elif isinstance(case.body, dict):
        known = {"sender_id": SEEDS["sender"], "plan": SEEDS["plan"], "timezone": "Europe/Lisbon", "to": "+351916666666",
                 "template": SEEDS["template"], "values": {"name": "Ana"}, "campaign_id": CAMPAIGNS["cancel"]}
        case.body.update({name: value for name, value in known.items() if name in case.body})
        if label == "POST /v1/templates/sync":
            case.body.clear()


@schemathesis.hook
def after_call(context, case, response):
    ANSWERS.write(f"{response.status_code} {case.operation.label}\n")
