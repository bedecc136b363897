"""Operators on calls, methods and subscripts: another function, other arguments, a call or a slice more or less."""

from __future__ import annotations

import ast

from bondhu.domains.coding.kinds import NUMBER, SEQUENCE, TEXT, TRUTH, UNKNOWN
from bondhu.domains.coding.material import View
from bondhu.domains.coding.operators import CONDITIONS, Found, call, computed, constant, is_condition, loaded, name
from bondhu.domains.coding.trees import Place

ALIKE = (  # functions that are taken for each other
    ("min", "max", "sum", "len"), ("any", "all"), ("sorted", "reversed", "list", "set", "tuple"),
    ("int", "float", "str", "round", "bool", "abs"), ("range", "enumerate", "len"), ("zip", "map", "filter"),
    ("ord", "chr", "int", "str"), ("bin", "hex", "oct"), ("sum", "max", "len"), ("set", "frozenset", "dict", "list"),
    ("floor", "ceil", "round", "int", "trunc"), ("type", "isinstance"),
)  # fmt: skip
METHODS_ALIKE = (
    ("lower", "upper", "capitalize", "title", "swapcase", "casefold"), ("append", "extend", "add", "insert", "remove"),
    ("find", "rfind", "index", "rindex", "count"), ("startswith", "endswith"), ("strip", "lstrip", "rstrip"),
    ("split", "rsplit", "splitlines", "partition"), ("islower", "isupper", "isalpha", "isdigit", "isalnum", "isspace"),
    ("keys", "values", "items"), ("pop", "popleft", "remove", "popitem"), ("add", "discard", "remove", "update"),
    ("append", "appendleft"), ("union", "intersection", "difference", "symmetric_difference"), ("sort", "reverse"),
    ("floor", "ceil", "trunc", "sqrt"), ("ljust", "rjust", "center", "zfill"), ("isdigit", "isnumeric", "isdecimal"),
    ("get", "pop", "setdefault"), ("sin", "cos"), ("log", "log2", "log10", "exp"), ("match", "search", "fullmatch"),
    ("replace", "strip"), ("popleft", "pop"), ("issubset", "issuperset"), ("permutations", "combinations", "product"),
)  # fmt: skip
WRAPPERS = {
    NUMBER: ("abs", "int", "str", "round", "float"), TEXT: ("len", "sorted", "set", "int", "list", "float"),
    TRUTH: ("int",), SEQUENCE: ("sorted", "list", "set", "len", "sum", "max", "min", "reversed", "tuple", "any", "all"),
    UNKNOWN: ("sorted", "list", "set", "len", "str", "int", "abs", "sum", "max", "min"),
}  # fmt: skip
METHODS = ("lower", "upper", "strip", "split", "copy")
SEQUENCES = (ast.Name, ast.Call, ast.Subscript, ast.ListComp, ast.GeneratorExp, ast.Attribute, ast.BinOp)


def _others(groups: tuple[tuple[str, ...], ...], word: str) -> list[str]:
    return list(dict.fromkeys(each for group in groups if word in group for each in group if each != word))


def function_name(view: View, place: Place) -> Found:
    """Another function that is called in much the same way."""
    node = place.node
    if not isinstance(node, ast.Name) or place.field not in {"func", "args"} or not loaded(place):
        return
    if place.field == "args" and node.id in place.names:
        return
    yield from (name(each) for each in _others(ALIKE, node.id))
    if place.field == "func":
        yield from (name(each) for each in view.callables if each != node.id)


def attribute_name(_: View, place: Place) -> Found:
    """Another method or attribute of the same kind of value."""
    node = place.node
    if isinstance(node, ast.Attribute) and loaded(place):
        yield from (ast.Attribute(node.value, each, ast.Load()) for each in _others(METHODS_ALIKE, node.attr))


def arguments(view: View, place: Place) -> Found:
    """Arguments exchanged, one less, or one more."""
    node = place.node
    if not isinstance(node, ast.Call):
        return
    given = node.args
    for at in range(len(given) - 1):
        yield ast.Call(node.func, [*given[:at], given[at + 1], given[at], *given[at + 2 :]], node.keywords)
    for at in range(len(given)):
        yield ast.Call(node.func, [*given[:at], *given[at + 1 :]], node.keywords)
    for at in range(len(node.keywords)):
        yield ast.Call(node.func, given, [*node.keywords[:at], *node.keywords[at + 1 :]])
    yield from _more(view, place, node)


def _more(view: View, place: Place, node: ast.Call) -> Found:
    if not isinstance(node.func, ast.Name):
        return
    function, given = node.func.id, node.args
    if function == "range" and len(given) == 1:
        yield from (call("range", constant(each), given[0]) for each in (1, 2))
    elif function == "range" and len(given) == 2:
        yield from (call("range", *given, constant(each)) for each in (2, -1))
    elif function in {"int", "round", "enumerate", "sum"} and len(given) == 1:
        yield from (call(function, given[0], constant(each)) for each in (1, 2))
    elif view.callables.get(function, 0) > len(given):
        yield from (call(function, *given, name(each)) for each in place.names)
    elif function in {"min", "max"} and len(given) > 1:
        yield from (call(function, *given, name(each)) for each in place.names if each in view.numeric)


def keyword(view: View, place: Place) -> Found:
    """What an order or a choice is made by: `reverse=`, `key=`, `default=`."""
    node = place.node
    if not isinstance(node, ast.Call):
        return
    ordered = _ordered(node)
    used = {word.arg for word in node.keywords}
    if ordered == "order" and "reverse" not in used:
        yield ast.Call(node.func, node.args, [*node.keywords, ast.keyword("reverse", constant(True))])
    if ordered and "key" not in used:
        for key in _keys(view):
            yield ast.Call(node.func, node.args, [*node.keywords, ast.keyword("key", key)])
    if ordered == "choice" and len(node.args) == 1 and "default" not in used:
        for each in (0, None):
            yield ast.Call(node.func, node.args, [*node.keywords, ast.keyword("default", constant(each))])


def _ordered(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return "order" if node.func.attr == "sort" else ""
    named = node.func.id if isinstance(node.func, ast.Name) else ""
    return {"sorted": "order", "min": "choice", "max": "choice"}.get(named, "")


def _keys(view: View) -> list[ast.expr]:
    found: list[ast.expr] = [name(each) for each in ("len", "str", "int", "abs", "sum")]
    bodies: list[ast.expr] = [ast.Subscript(name("x"), ast.Constant(at), ast.Load()) for at in (0, 1)]
    bodies += [ast.Subscript(name(each), name("x"), ast.Load()) for each in view.tables]
    bodies += [ast.UnaryOp(ast.USub(), name("x")), ast.Call(ast.Attribute(name("x"), "lower", ast.Load()), [], [])]
    bodies += [call(each, name("x")) for each, arity in view.callables.items() if arity == 1]
    return found + [ast.Lambda(ast.arguments([], [ast.arg("x")], None, [], [], None, []), each) for each in bodies]


def call_wrapped(view: View, place: Place) -> Found:
    """A call around an expression; around both sides of a comparison."""
    node = place.node
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for each in ("set", "sorted", "len", "str", "abs", "int"):
            yield ast.Compare(call(each, node.left), node.ops, [call(each, node.comparators[0])])
    if not computed(place) or not isinstance(node, SEQUENCES) or place.field in CONDITIONS or is_condition(place):
        return
    guess = view.kind(node)
    around = (
        place.parent.func.id if isinstance(place.parent, ast.Call) and isinstance(place.parent.func, ast.Name) else ""
    )
    inside = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    for each in WRAPPERS[guess]:
        if each not in {around, inside}:
            yield call(each, node)
    yield from (call(each, node) for each, arity in view.callables.items() if arity == 1)
    if guess in {SEQUENCE, UNKNOWN}:
        whole = isinstance(place.parent, ast.Return) or isinstance(node, (ast.ListComp, ast.GeneratorExp))
        yield from _compound(view, node, whole)


def _compound(view: View, node: ast.expr, returned: bool) -> Found:
    """Wrappers of two parts that are often meant as one."""
    yield call("list", call("set", node))
    if returned:
        for key in _keys(view):
            yield ast.Call(name("sorted"), [node], [ast.keyword("key", key)])
        yield ast.Call(name("sorted"), [node], [ast.keyword("reverse", constant(True))])
        yield ast.Call(ast.Attribute(ast.Constant(""), "join", ast.Load()), [node], [])


def method_called(view: View, place: Place) -> Found:
    """A method call more, or parentheses that were forgotten."""
    node = place.node
    if not computed(place) or not isinstance(node, (ast.Name, ast.Call, ast.Subscript, ast.Attribute)):
        return
    if isinstance(node, ast.Attribute):
        yield ast.Call(node, [], [])
    elif isinstance(place.parent, (ast.Compare, ast.Call, ast.For, ast.comprehension, ast.Return, ast.Assign)):
        if view.kind(node) not in {TEXT, UNKNOWN} or is_condition(place):
            return
        already = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
        for each in METHODS:
            if each != already:
                yield ast.Call(ast.Attribute(node, each, ast.Load()), [], [])


def slice_inserted(view: View, place: Place) -> Found:
    """A part of a sequence instead of the whole, or one element."""
    node = place.node
    if not computed(place) or not isinstance(node, (ast.Name, ast.Call, ast.ListComp, ast.Subscript, ast.Attribute)):
        return
    if is_condition(place) or view.kind(node) in {NUMBER, TRUTH} or place.field in {"slice", "lower", "upper"}:
        return
    one, less = ast.Constant(1), constant(-1)
    for part in (ast.Slice(one), ast.Slice(None, less), ast.Slice(None, None, less)):
        yield ast.Subscript(node, part, ast.Load())
    for index in (ast.Constant(0), less, one):
        yield ast.Subscript(node, index, ast.Load())
    if isinstance(node, ast.Name):
        for each in place.names:
            if each != node.id and view.kinds.get(each, NUMBER) == NUMBER:
                yield ast.Subscript(node, ast.Slice(None, name(each)), ast.Load())
                yield ast.Subscript(node, ast.Slice(name(each)), ast.Load())
                yield ast.Subscript(node, name(each), ast.Load())


def slice_bound(_: View, place: Place) -> Found:
    """A bound less, or one more; an element instead of a slice, and a slice instead of an element."""
    node = place.node
    if isinstance(node, ast.Subscript) and not isinstance(node.slice, (ast.Slice, ast.Tuple)) and loaded(place):
        yield ast.Subscript(node.value, ast.Slice(node.slice), ast.Load())
        yield ast.Subscript(node.value, ast.Slice(None, node.slice), ast.Load())
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice):
        return
    lower, upper, step = node.slice.lower, node.slice.upper, node.slice.step
    one, less = ast.Constant(1), constant(-1)
    found = [
        ast.Slice(None, upper, step),
        ast.Slice(lower, None, step),
        ast.Slice(lower, upper),
        ast.Slice(upper, lower, step),
    ]
    found += [ast.Slice(one, upper, step)] if lower is None else []
    found += [ast.Slice(lower, less, step)] if upper is None else []
    found += [ast.Slice(lower, upper, each) for each in (less, ast.Constant(2)) if step is None]
    yield from (ast.Subscript(node.value, each, node.ctx) for each in found)
