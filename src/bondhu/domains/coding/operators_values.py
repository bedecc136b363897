"""Operators on constants and variables: another value in the same place."""

from __future__ import annotations

import ast

from bondhu.domains.coding.kinds import NUMBER
from bondhu.domains.coding.material import MOST, View
from bondhu.domains.coding.operators import CONDITIONS, Found, call, computed, constant, is_condition, loaded, name
from bondhu.domains.coding.trees import Place

BRACKETS = "()[]{}<>"
BUILT_IN = ("True", "False", "None")
SHORT = 40  # characters of a string of which variants are tried


def constant_changed(view: View, place: Place) -> Found:
    """One off, a usual value, or another constant of the function or of its docstring."""
    node = place.node
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield constant(not value)
    elif isinstance(value, (int, float)):
        near = [value + 1, value - 1, 0, 1, -1, 2, value + 2, value - 2]
        lengths = [len(each) for each in view.texts if len(each) > 1]
        for other in dict.fromkeys([*near, *view.numbers[:MOST], *lengths]):
            if other != value and not (other < 0 and _under_minus(place)):
                yield constant(other)
        yield from map(constant, _float_variants(value))
    elif isinstance(value, str):
        others = [*variants(value), *view.texts[:MOST], *view.quoted[:MOST]]
        yield from (constant(other) for other in dict.fromkeys(others) if other != value)


def _under_minus(place: Place) -> bool:
    return isinstance(place.parent, ast.UnaryOp)


def _float_variants(value: float) -> list[float]:
    return [value / 2, value * 2, value * 10, value / 10] if isinstance(value, float) else [value * 2, value * 10]


def variants(text: str) -> list[str]:
    """What is easily typed instead: other case, other spaces, a character more or less, another bracket."""
    if len(text) > SHORT:
        return []
    found = ["", text.lower(), text.upper(), text.capitalize(), text.title(), text.strip(), text[::-1], text + text]
    found += [text[:-1], text[1:], text + " ", " " + text]
    if not text.strip():
        found += [" ", ",", "\n", "-"]
    if len(text) == 1:
        found += [*BRACKETS] if text in BRACKETS else []
        found += [chr(ord(text) + 1), chr(ord(text) - 1)] if text.isalnum() and text.isascii() else []
        found += [",", ".", ";", " ", "-", "_"] if not text.isalnum() and text not in BRACKETS else []
    return [each for each in dict.fromkeys(found) if each.isprintable() or each == "\n"]


def constant_replaced(view: View, place: Place) -> Found:
    """Another kind of constant, or a variable, where a constant stands."""
    node = place.node
    if not isinstance(node, ast.Constant) or not computed(place) or place.field == "step":
        return
    if isinstance(place.parent, ast.Return) or (isinstance(place.parent, ast.IfExp) and not is_condition(place)):
        others = [*view.results, True, False, None, 0, "", -1]
        if isinstance(place.parent, ast.Return):
            yield from (ast.List([], ast.Load()), ast.Tuple([], ast.Load()))
        kinds = {(type(each), each): each for each in others if type(each) is not type(node.value)}
        yield from map(constant, kinds.values())
    elif isinstance(place.parent, ast.Assign):
        yield from (ast.List([], ast.Load()), call("set"), ast.Dict([], []))
        yield from (constant(each) for each in (None, 0, "", True, False) if type(each) is not type(node.value))
    yield from (name(each) for each in place.names)
    if isinstance(place.parent, ast.Assign):
        yield from (ast.Subscript(name(each), ast.Constant(0), ast.Load()) for each in place.names)


def variable(_: View, place: Place) -> Found:
    """Another variable that is bound there; as a target, any of the function."""
    node = place.node
    if not isinstance(node, ast.Name) or place.field == "func":
        return
    if not loaded(place):
        if isinstance(place.parent, (ast.Assign, ast.AugAssign, ast.For, ast.Tuple, ast.List)):
            yield from (name(each) for each in place.locals if each != node.id)
        return
    if node.id in place.names or node.id in place.locals:
        yield from (name(each) for each in place.names if each != node.id)


def variable_replaced(view: View, place: Place) -> Found:
    """A constant, or a part, where a variable stands whole."""
    node = place.node
    if not isinstance(node, ast.Name) or not computed(place) or node.id not in place.locals or is_condition(place):
        return
    if isinstance(place.parent, (ast.Subscript, ast.Attribute)) and place.field == "value":
        return  # a number has no parts
    if isinstance(place.parent, ast.Compare) and isinstance(place.parent.ops[0], (ast.Is, ast.IsNot)):
        return
    if place.field in {"slice", "lower", "upper", "args", "left", "right", "comparators", "value"}:
        yield from (constant(each) for each in dict.fromkeys((0, 1, *view.numbers[:4])))
        yield from (constant(each) for each in view.texts[:4] if len(each) <= 1)
    if place.field in {"args", "value", "elt"} and isinstance(place.parent, (ast.Return, ast.Call)):
        yield from (constant(each) for each in (True, False, None) if isinstance(place.parent, ast.Return))


def expression_to_variable(view: View, place: Place) -> Found:
    """A variable, or less it, where something is computed."""
    node = place.node
    if not computed(place) or isinstance(node, (ast.Name, ast.Constant, ast.Lambda)) or is_condition(place):
        return
    if isinstance(place.parent, (ast.Assign, ast.Return, ast.Call, ast.BinOp, ast.Compare, ast.IfExp, ast.For)):
        for each in place.names:
            yield name(each)
            if view.kinds.get(each, NUMBER) == NUMBER and isinstance(place.parent, (ast.Assign, ast.Return)):
                yield ast.UnaryOp(ast.USub(), name(each))
    elif isinstance(place.parent, (ast.Subscript, ast.Slice)):
        yield from (constant(each) for each in (0, 1))


def subexpression(_: View, place: Place) -> Found:
    """A part of the expression instead of the whole."""
    node = place.node
    if not computed(place) or isinstance(node, (ast.Lambda, ast.BinOp, ast.BoolOp, ast.UnaryOp)):
        return
    parts: list[ast.expr] = []
    if isinstance(node, ast.Call):
        parts = [*node.args, *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
    elif isinstance(node, (ast.Subscript, ast.Attribute)):
        parts = [node.value]
    elif isinstance(node, ast.IfExp):
        parts = [node.body, node.orelse]
    elif isinstance(node, ast.Compare) and place.field not in CONDITIONS:
        parts = [node.left, *node.comparators]
    elif isinstance(node, (ast.List, ast.Tuple, ast.Set)) and len(node.elts) == 1:
        parts = list(node.elts)
    yield from (each for each in parts if not isinstance(each, (ast.Starred, ast.Slice)))
    for each in parts:  # two layers less, as in `sorted(list(x))`
        if isinstance(each, ast.Call) and len(each.args) == 1 and not isinstance(each.args[0], ast.Starred):
            yield each.args[0]


def elements(_: View, place: Place) -> Found:
    """Elements of a list or a tuple exchanged, or one less."""
    node = place.node
    if not isinstance(node, (ast.List, ast.Tuple, ast.Set)) or any(isinstance(each, ast.Slice) for each in node.elts):
        return
    parts = node.elts
    for at in range(len(parts) - 1):
        exchanged = [*parts[:at], parts[at + 1], parts[at], *parts[at + 2 :]]
        yield _collection(node, exchanged)
    if loaded(place) and (len(parts) > 1 or isinstance(node, ast.List)):
        for at in range(len(parts)):
            yield _collection(node, [*parts[:at], *parts[at + 1 :]])


def _collection(node: ast.List | ast.Tuple | ast.Set, parts: list[ast.expr]) -> ast.expr:
    if isinstance(node, ast.Set):
        return ast.Set(parts)
    return ast.List(parts, node.ctx) if isinstance(node, ast.List) else ast.Tuple(parts, node.ctx)


def comprehension(_: View, place: Place) -> Found:
    """A condition of a comprehension less, or one more that the function asks elsewhere."""
    node = place.node
    if not isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
        return
    for at, each in enumerate(node.generators):
        for number in range(len(each.ifs)):
            rest = [*each.ifs[:number], *each.ifs[number + 1 :]]
            yield _looped(node, at, rest)
        if not each.ifs and isinstance(each.target, ast.Name):
            yield _looped(node, at, [name(each.target.id)])
            for one in (0, 1):
                test = ast.Compare(ast.BinOp(name(each.target.id), ast.Mod(), constant(2)), [ast.Eq()], [constant(one)])
                yield _looped(node, at, [test])
    if isinstance(node, ast.ListComp):
        yield ast.SetComp(node.elt, node.generators)
    first = node.generators[0].target
    if isinstance(first, ast.Name) and not (isinstance(node.elt, ast.Name) and node.elt.id == first.id):
        yield type(node)(name(first.id), node.generators)


def _looped(
    node: ast.ListComp | ast.SetComp | ast.GeneratorExp, at: int, tests: list[ast.expr]
) -> ast.ListComp | ast.SetComp | ast.GeneratorExp:
    old = node.generators[at]
    loop = ast.comprehension(old.target, old.iter, tests, old.is_async)
    return type(node)(node.elt, [*node.generators[:at], loop, *node.generators[at + 1 :]])
