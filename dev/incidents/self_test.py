"""Sees the drill's own judgement go red, without any server: made-up notices, made-up figures."""

import promql
from calibration import compared, nearness
from prometheus import check_receivers
from receivers import CONTROL, DEAD_MAN, Receivers, Told, faults_of

FIRING, OVER = "firing", "resolved"


def told(at, status, began=10.0, name="RedisDown", receiver="slack", fingerprint="a"):
    return Told(at, receiver, "group", name, status, began, fingerprint, {"severity": "warning"}, {})


def notices():
    once = [told(20, FIRING), told(90, OVER)]
    yield "told and told to be over", faults_of(once) == []
    yield "never told to be over", any("never told" in fault for fault in faults_of(once[:1]))
    yield "told twice to be over", any("2 times" in fault for fault in faults_of([*once, told(95, OVER)]))
    yield "the same notice again", any("nothing new" in fault for fault in faults_of([once[0], told(50, FIRING), once[1]]))
    yield "it fired anew and nobody was told of its end", any("never told" in fault for fault in faults_of([*once, told(100, FIRING, began=99.0)]))
    yield "it fired anew before it was told to be over: it went on", faults_of([told(20, FIRING), told(80, FIRING, began=70.0), told(95, OVER, began=70.0)]) == []
    yield "nobody was told that it fired anew, only that it is over: it went on", faults_of([told(20, FIRING), told(95, OVER, began=70.0)]) == []
    yield "an earlier end is none", any("never told" in fault for fault in faults_of([told(80, FIRING, began=70.0), told(95, OVER)]))
    yield "a second alert joins a group: news", faults_of([*once, told(50, FIRING, fingerprint="b"), told(91, OVER, fingerprint="b")]) == []


def first_notice():
    receivers = Receivers([DEAD_MAN, "slack", CONTROL])
    receivers.told = [told(5, FIRING, began=1.0), told(20, FIRING, receiver=CONTROL), told(21, FIRING, name="Other", fingerprint="o"), told(22, FIRING), told(30, FIRING)]
    yield "a receiver refuses what bears no token or another's", check_receivers(receivers)
    yield "the first notice is the incident's own", receivers.first(("RedisDown",), 9.0).at == 22
    yield "what nobody told is nothing", receivers.first(("PostgreSQLDown",), 9.0) is None
    yield "what fires is open until it is told to be over", set(receivers.open().values()) == {"RedisDown", "Other"}
    receivers.told += [told(40, FIRING, began=35.0), told(50, OVER, began=35.0)]
    yield "what fired anew is over with its later end", set(receivers.open().values()) == {"Other"}
    receivers.close()


def distances():
    figures = {"errors": [{frozenset(): 2.0}, {}], "0.1": [{frozenset(): 0.1}] * 2, "5": [{frozenset(): 5.0}] * 2,
               "calls": [{frozenset(): 0.05}, {frozenset(): 0.09}]}

    def near(expression):
        return nearness(promql.parse(expression), lambda part: figures[part])
    yield "half of the threshold is half", [round(one, 3) for one in near("calls > 0.1")] == [0.5, 0.9]
    yield "no data is nothing", near("errors > 5") == [0.4, None]
    yield "`and` is as near as the farther part", near("errors > 5 and calls > 0.1")[0] == 0.4
    yield "`or` is as near as the nearer part", round(near("errors > 5 or calls > 0.1")[0], 3) == 0.5
    yield "a floor is neared from above", near("errors < 5")[0] == 2.5
    node = [{frozenset({("instance", "a")}): 3.0, frozenset({("instance", "b")}): 9.0}]
    yield "each series against its own limit", compared(">", node, [{frozenset({("instance", "a")}): 10.0, frozenset({("instance", "b")}): 10.0}]) == [0.9]


def run():
    broken = [name for case in (notices, first_notice, distances) for name, holds in case() if not holds]
    for name in broken:
        print(f"BROKEN {name}")
    return 1 if broken else 0
