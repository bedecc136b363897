"""Operators on expressions that compute and decide: each says what may stand in a place instead.

They are the mutation operators of Offutt et al. (1996, "An experimental determination of sufficient mutant operators")
and the repair templates collected by Liu et al. (2019, "TBar"), in the words of Python's syntax.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bondhu.domains.coding.kinds import NUMBER, UNKNOWN
from bondhu.domains.coding.material import View
from bondhu.domains.coding.trees import Place

Found = Iterator[ast.expr]
ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
RELATED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.In: (ast.NotIn, ast.Eq), ast.NotIn: (ast.In, ast.NotEq), ast.Is: (ast.IsNot, ast.Eq),
    ast.IsNot: (ast.Is, ast.NotEq),
}  # fmt: skip
NUMERIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
BITWISE = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift)
OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
CONDITIONS = frozenset({"test", "ifs"})


def name(of: str) -> ast.Name:
    return ast.Name(of, ast.Load())


def constant(value: object) -> ast.expr:
    """A constant as the parser would read it: a negative number is a minus before a number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)  # type: ignore[arg-type]  # of the kinds that constants have


def call(function: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(name(function), list(arguments), [])


def operators_of(operator: ast.operator) -> tuple[type[ast.operator], ...]:
    """What may stand for an arithmetic operator."""
    group = NUMERIC if isinstance(operator, NUMERIC) else BITWISE
    return tuple(each for each in group if not isinstance(operator, each))


def loaded(place: Place) -> bool:
    """Whether the expression is one whose value is taken, and that is no slice."""
    return isinstance(getattr(place.node, "ctx", ast.Load()), ast.Load) and not isinstance(place.node, ast.Slice)


def computed(place: Place) -> bool:
    """Whether something else may be computed in its place: no function that is called, no target, no part of a name."""
    if place.field == "func" or not loaded(place) or isinstance(place.node, (ast.Starred, ast.Yield, ast.YieldFrom)):
        return False
    return not isinstance(place.parent, (ast.Expr, ast.Delete)) and not isinstance(place.node, ast.NamedExpr)


def is_condition(place: Place) -> bool:
    """Whether only its truth counts."""
    whole = place.field in CONDITIONS or isinstance(place.parent, ast.BoolOp)
    return whole or (isinstance(place.parent, ast.UnaryOp) and isinstance(place.parent.op, ast.Not))


def comparison_operator(_: View, place: Place) -> Found:
    node = place.node
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            for other in RELATED.get(type(operator), ORDERS):
                if not isinstance(operator, other):
                    yield ast.Compare(node.left, [*node.ops[:at], other(), *node.ops[at + 1 :]], node.comparators)


def arithmetic_operator(_: View, place: Place) -> Found:
    node = place.node
    if isinstance(node, ast.BinOp):
        for other in operators_of(node.op):
            yield ast.BinOp(node.left, other(), node.right)


def boolean_operator(_: View, place: Place) -> Found:
    node = place.node
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)


def condition_negated(_: View, place: Place) -> Found:
    node = place.node
    boolean = is_condition(place) or isinstance(node, (ast.Compare, ast.BoolOp))
    if not boolean or not computed(place) or isinstance(node, ast.UnaryOp):
        return
    if not (isinstance(node, ast.Compare) and len(node.ops) == 1):  # one comparison: `comparison_operator` has it
        yield ast.UnaryOp(ast.Not(), node)


def unary_operator(view: View, place: Place) -> Found:
    """A sign or a `not` too few, or too many."""
    node = place.node
    if isinstance(node, ast.UnaryOp):
        yield node.operand
        if isinstance(node.op, ast.UAdd):
            yield ast.UnaryOp(ast.USub(), node.operand)
        return
    whole = isinstance(node, (ast.Name, ast.Call, ast.Subscript)) and place.field not in {"iter", "slice"}
    if whole and computed(place) and not is_condition(place) and view.kind(node) in {NUMBER, UNKNOWN}:
        yield ast.UnaryOp(ast.USub(), node)


def operands_exchanged(_: View, place: Place) -> Found:
    node = place.node
    if isinstance(node, ast.BinOp):
        yield ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield ast.Compare(node.comparators[0], node.ops, [node.left])
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)


def regrouped(_: View, place: Place) -> Found:
    """Brackets missing, in excess, or around the wrong part of two operations."""
    node = place.node
    if not isinstance(node, ast.BinOp):
        return
    left, right = node.left, node.right
    if isinstance(right, ast.BinOp):
        yield ast.BinOp(ast.BinOp(left, node.op, right.left), right.op, right.right)
        yield ast.BinOp(ast.BinOp(left, right.op, right.right), node.op, right.left)
    if isinstance(left, ast.BinOp):
        yield ast.BinOp(left.left, left.op, ast.BinOp(left.right, node.op, right))
        yield ast.BinOp(ast.BinOp(left.left, node.op, right), left.op, left.right)


def operand_removed(_: View, place: Place) -> Found:
    """One part of a chain of operations less."""
    node = place.node
    if isinstance(node, ast.BinOp):
        yield node.left
        yield node.right
        if isinstance(node.left, ast.BinOp):
            yield ast.BinOp(node.left.left, node.op, node.right)
            yield ast.BinOp(node.left.right, node.op, node.right)
            yield ast.BinOp(node.left.left, node.left.op, node.right)
            yield node.left.left
        if isinstance(node.right, ast.BinOp):
            yield ast.BinOp(node.left, node.op, node.right.right)
    elif isinstance(node, ast.Compare) and len(node.ops) > 1:
        yield ast.Compare(node.left, node.ops[:-1], node.comparators[:-1])
        yield ast.Compare(node.comparators[0], node.ops[1:], node.comparators[1:])


def operand_inserted(view: View, place: Place) -> Found:
    """One off, half, double, or one operation with a variable more."""
    node = place.node
    if not computed(place) or is_condition(place) or not _countable(view, place):
        return
    one, two = ast.Constant(1), ast.Constant(2)
    yield ast.BinOp(node, ast.Add(), one)
    yield ast.BinOp(node, ast.Sub(), one)
    if not isinstance(node, ast.Constant) and place.field not in {"slice", "lower", "upper"}:
        for operator in (ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow):
            yield ast.BinOp(node, operator(), two)
    if isinstance(node, ast.Constant) or isinstance(place.parent, (ast.BinOp, ast.AugAssign, ast.Assign, ast.Return)):
        for each in place.names:
            if each in view.numeric and not (isinstance(node, ast.Name) and node.id == each):
                for operation in (ast.Add, ast.Sub, ast.Mult):
                    yield ast.BinOp(node, operation(), name(each))


def _countable(view: View, place: Place) -> bool:
    """Whether the expression may be a number with which something is computed."""
    node, parent, guess = place.node, place.parent, view.kind(place.node)
    if guess not in {NUMBER, UNKNOWN} or isinstance(node, (ast.Tuple, ast.Lambda, ast.UnaryOp)):
        return False
    if isinstance(node, ast.Constant):
        return guess == NUMBER and isinstance(parent, (ast.Call, ast.Return, ast.Assign, ast.Subscript))
    if guess == NUMBER or place.field in {"slice", "lower", "upper"}:
        return True
    if isinstance(parent, ast.Call):
        return isinstance(parent.func, ast.Name) and parent.func.id == "range"
    return isinstance(parent, (ast.BinOp, ast.AugAssign))


def condition_term(view: View, place: Place) -> Found:
    """A condition with one term more or less; terms come from other conditions of the function."""
    node = place.node
    if isinstance(node, ast.BoolOp):
        for at in range(len(node.values)):
            rest = [*node.values[:at], *node.values[at + 1 :]]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        yield from _permuted(view, node)
    if place.field not in CONDITIONS or not computed(place):
        return
    names = set(place.names)
    for other in view.conditions:
        if other is not node and _free(other) <= names:
            yield _combined(node, ast.And(), other)
            yield _combined(node, ast.Or(), other)
    own = _free(node)
    for function, arity in view.callables.items():
        if arity == 1 and function != view.function.name:
            yield from (_combined(node, ast.And(), call(function, name(each))) for each in place.names if each in own)


def _combined(left: ast.expr, operator: ast.boolop, right: ast.expr) -> ast.expr:
    """As the parser reads `a and b and c`: one node with three values."""
    same = isinstance(left, ast.BoolOp) and type(left.op) is type(operator)
    return ast.BoolOp(operator, [*left.values, right] if same and isinstance(left, ast.BoolOp) else [left, right])


def _free(node: ast.expr) -> set[str]:
    """Variables that a condition reads; calls may be made anywhere."""
    functions = {id(each.func) for each in ast.walk(node) if isinstance(each, ast.Call)}
    bound = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and id(each) not in functions} - bound


class _Exchanged(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return name(self.names.get(node.id, node.id))


def _permuted(view: View, node: ast.BoolOp) -> Found:
    """The first term once more with two of its variables exchanged, as in `a + b == c or a + c == b`."""
    from copy import deepcopy

    first = node.values[0]
    names = sorted(each for each in _free(first) if each in view.local)
    pairs = [(one, other) for at, one in enumerate(names) for other in names[at + 1 :]] if len(names) <= 4 else []
    for one, other in pairs:
        term = _Exchanged({one: other, other: one}).visit(deepcopy(first))
        for at in (1, len(node.values)):
            yield ast.BoolOp(node.op, [*node.values[:at], term, *node.values[at:]])
