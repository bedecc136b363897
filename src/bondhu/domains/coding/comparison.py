"""Whether an answer is what an assertion wants, found here and at once where that cannot take long.

An answer is plain data of exact built-in types, so that `==` runs no code of the program; compared with a value that is
known, it costs no more than that value's size. An assertion that does something else with the answer is evaluated here
if it is made of operations whose cost is that of the answer, and the answer is small; if not, the bench does it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from bondhu.domains.coding.assertions import compiled, namespace, only_call, parsed, plain

Check = Callable[[Any], bool | None]  # None: not to be decided here

ROOM = 65_536  # what a small answer may weigh: a character 1, another value 16
BITS = 1_024  # of a small number
CHEAP = {
    "abs", "len", "round", "sorted", "set", "list", "tuple", "sum", "min", "max", "all", "any", "isinstance", "type",
    "math.isclose", "math.fabs",
}  # fmt: skip
EVALUATED = (
    ast.Compare, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Constant, ast.Name, ast.Call, ast.Tuple, ast.List, ast.Set,
    ast.Dict, ast.boolop, ast.unaryop, ast.cmpop, ast.Add, ast.Sub, ast.Div, ast.expr_context,
)  # fmt: skip
COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Is: operator.is_, ast.IsNot: operator.is_not,
}  # fmt: skip
ANSWER = "__answer__"


@lru_cache(maxsize=8192)  # tests; a few kilobytes each
def check(code: str, entry: str, preamble: str = "") -> Check | None:
    """For test code with one call: whether it passes with this value as the answer. None: only the bench can say."""
    if "random" in code:
        return None  # numbers must be drawn anew for every answer
    tree = parsed(code, "test")
    *before, last = tree.body
    call = only_call(tree, entry)
    if call is None or not isinstance(last, ast.Assert) or not any(node is call for node in ast.walk(last.test)):
        return None
    try:
        names = namespace(preamble)
        exec(compiled(ast.Module(before, []), "<test>"), names)  # noqa: S102 (test code is trusted)
        return _known(last.test, call, names) or _expression(last.test, call, names)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None  # the test itself is broken, or would end us: where it runs, it will say how


def _known(test: ast.expr, call: ast.Call, names: dict[str, Any]) -> Check | None:
    """`answer == value` and the like, where the value is known beforehand."""
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or type(test.ops[0]) not in COMPARED:
        return None
    sides = (test.left, test.comparators[0])
    if call not in sides:
        return None
    value = _value(sides[1] if sides[0] is call else sides[0], names)
    compare = COMPARED[type(test.ops[0])]
    return (lambda answer: bool(compare(answer, value))) if plain(value) else None


def _expression(test: ast.expr, call: ast.Call, names: dict[str, Any]) -> Check | None:
    """Any assertion of cheap operations, for small answers."""
    replaced = _Replaced(call).visit(test)
    if not all(_cheap(node) for node in ast.walk(replaced)):
        return None
    made = compiled(ast.Expression(replaced), "<test>")

    def decide(answer: Any) -> bool | None:
        if not small(answer):
            return None
        try:
            return bool(eval(made, names, {ANSWER: answer}))  # noqa: S307 (test code is trusted, an answer is data)
        except KeyboardInterrupt:
            raise
        except BaseException:
            return False  # such as `abs` of a text, or sys.exit

    return decide


class _Replaced(ast.NodeTransformer):
    """The same with the answer in place of the call."""

    def __init__(self, call: ast.Call) -> None:
        self.call = call

    def visit(self, node: ast.AST) -> Any:
        return ast.Name(ANSWER, ast.Load()) if node is self.call else self.generic_visit(node)


def _cheap(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in CHEAP
    return isinstance(node, EVALUATED) or (isinstance(node, ast.Attribute) and ast.unparse(node) in CHEAP)


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    return eval(compiled(ast.Expression(node), "<test>"), dict(names))  # noqa: S307 (test code is trusted)


def small(value: Any) -> bool:
    """Whether everything that is linear in it, or quadratic in the number of its items, is done at once."""
    room, waiting = ROOM, [value]
    while waiting:
        each = waiting.pop()
        kind = type(each)
        room -= len(each) if kind in (str, bytes) else 16
        if room < 0 or (kind is int and each.bit_length() > BITS):
            return False
        if kind is dict:
            waiting.extend(each.keys())
            waiting.extend(each.values())
        elif kind in (list, tuple, set, frozenset):
            if len(each) * 16 > room:
                return False
            waiting.extend(each)
    return True
