"""Operators that change several places of a function at once."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from itertools import combinations

from bondhu.domains.coding.blocks import Rewrite
from bondhu.domains.coding.material import View
from bondhu.domains.coding.operators import constant
from bondhu.domains.coding.operators_values import variants
from bondhu.domains.coding.rendering import ATOM, TEST
from bondhu.domains.coding.trees import Block, is_text

Found = Iterator[Rewrite]


def values_exchanged(view: View, block: Block) -> Found:
    """The values of two returns, or of two assignments to one variable, the other way round."""
    if block.owner is not view.function:
        return
    groups: dict[object, list[ast.expr]] = {}
    for other in view.blocks:
        for each in other.statements:
            if isinstance(each, ast.Return) and each.value is not None:
                groups.setdefault((other.function, "return"), []).append(each.value)
            elif isinstance(each, ast.Assign) and len(each.targets) == 1:
                groups.setdefault((other.function, view.tree.shape(each.targets[0])), []).append(each.value)
    for values in groups.values():
        values.sort(key=lambda each: (each.lineno, each.col_offset))
        for one, two in combinations(values[:8], 2):
            yield _several(view, {one: two, two: one})


def constants_changed(view: View, block: Block) -> Found:
    """Every occurrence of one constant by another; all strings of a statement in another case."""
    if block.owner is not view.function:
        return
    found: dict[object, list[ast.Constant]] = {}
    for other in view.blocks:
        for statement in other.statements:
            texts = _constants(statement)
            for each in texts:
                found.setdefault((type(each.value), each.value), []).append(each)
            yield from _in_another_case(view, texts)
    for places in found.values():
        value = places[0].value
        if len(places) > 1 and isinstance(value, (int, str)) and not isinstance(value, bool):
            others: list[object] = [value + 1, value - 1] if isinstance(value, int) else list(variants(value))
            for other_value in others:
                if other_value != value:
                    yield _several(view, dict.fromkeys(places, constant(other_value)))


def _constants(statement: ast.stmt) -> list[ast.Constant]:
    """Those of the statement itself, not of blocks within it."""
    if is_text(statement):
        return []
    heads = [
        getattr(statement, field, None)
        for field in statement._fields
        if field not in {"decorator_list", "returns", "annotation"}
    ]
    nodes = [
        node
        for head in heads
        if isinstance(head, ast.expr) and not isinstance(head, ast.JoinedStr)
        for node in ast.walk(head)
    ]
    inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    return [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in inside]


def _in_another_case(view: View, constants: list[ast.Constant]) -> Found:
    texts = [each for each in constants if isinstance(each.value, str) and each.value]
    if len(texts) > 1:
        for change in (str.lower, str.upper, str.capitalize):
            new: dict[ast.expr, ast.expr] = {each: constant(change(str(each.value))) for each in texts}
            yield _several(view, new)


def _several(view: View, new: dict[ast.expr, ast.expr] | dict[ast.Constant, ast.expr]) -> Rewrite:
    """Several expressions replaced at once; the text between them stays."""
    tree, parts = view.tree, []
    for old, each in new.items():
        start, end = tree.span(old)
        tightness = ATOM if isinstance(tree.parents[id(old)], ast.Attribute) else TEST
        parts.append((start, end, view.renderer.text(each, tightness)))
    parts.sort()
    text, at = "", parts[0][0]
    for start, end, part in parts:
        text += tree.source[at:start] + part
        at = end
    first = min(old.lineno for old in new)
    return Rewrite(parts[0][0], at, text, first, 0, {id(old): tree.shape(each) for old, each in new.items()})


SEVERAL: dict[str, Callable[[View, Block], Found]] = {
    function.__name__: function for function in (values_exchanged, constants_changed)
}
