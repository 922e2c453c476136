"""What the checks ask of an expression of PromQL."""

import re

import promql_parser as parser

VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$__interval": "15s", "$instance": ".*"}


def parse(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return parser.parse(expression)


def children(node):
    for name in ("lhs", "rhs", "expr", "param", "vector_selector", "vs"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, (str, float, int)):
            yield child
    for child in getattr(node, "args", None) or []:
        yield child


def walk(node, above=()):
    """Every part of an expression with those that it stands in, outermost first."""
    yield node, above
    for child in children(node):
        yield from walk(child, (*above, node))


def kind(node):
    return type(node).__name__


def selectors(expression):
    """Each selector: its metric, its matchers, its range in the text of the expression, and the function around it."""
    found = []
    for node, above in walk(parse(expression)):
        if kind(node) == "VectorSelector":
            matchers = {matcher.name: (str(matcher.op), matcher.value) for matcher in node.matchers.matchers}
            call = next((part.func.name for part in reversed(above) if kind(part) == "Call"), None)
            found.append((node.name, matchers, any(kind(part) == "MatrixSelector" for part in above), call))
    return found


def metrics(expression):
    return {name for name, _, _, _ in selectors(expression) if name}


def compares(node):
    """Whether an alert on this would be quiet sometimes: a comparison or `absent` in each branch of it."""
    if kind(node) == "ParenExpr":
        return compares(node.expr)
    if kind(node) == "BinaryExpr":
        operator = str(node.op)
        if operator in (">", "<", ">=", "<=", "==", "!="):
            return True
        if operator in ("and", "unless"):
            return compares(node.lhs) or compares(node.rhs)
        if operator == "or":
            return compares(node.lhs) and compares(node.rhs)
        return False
    return kind(node) == "Call" and node.func.name == "absent"


def base(name, types):
    """The registered name of what the page shows as `_total`, `_bucket`, `_sum`, `_count`."""
    for ending in ("", "_total", "_bucket", "_sum", "_count"):
        if name.endswith(ending) and (name.removesuffix(ending) if ending else name) in types:
            return name.removesuffix(ending) if ending else name
    return None


def labels_in_template(text):
    return set(re.findall(r"\$labels\.(\w+)", text))
