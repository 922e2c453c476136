"""Alerts, dashboards and runbooks: generates what is generated and checks the rest.

usage: dev/ops generate               writes rules, unit tests and dashboards anew from their sources
       dev/ops check                  all checks that need no server, as `make lint` runs them
       dev/ops mutate [ALERT ...]     breaks each rule, and sees its unit tests go red
       dev/ops metrics [URL]          compares docs/metrics.md with a server's page; with --write, writes it anew
       dev/ops data PROMETHEUS        asks a Prometheus all that the dashboards ask: each query must be answered
"""

import sys

import checks
import data
import metrics
import mutate
from files import Found


def main(words):
    command, rest = (words[0], words[1:]) if words else ("help", [])
    if command == "generate" and not rest:
        checks.generate()
    elif command == "check" and not rest:
        checks.check()
    elif command == "mutate":
        mutate.main(rest)
    elif command == "metrics":
        metrics.main(rest)
    elif command == "data" and len(rest) == 1:
        data.main(rest[0])
    else:
        print(__doc__)
        return 0 if command == "help" else 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Found as found:
        print("\n".join(found.lines), file=sys.stderr)
        sys.exit(1)
