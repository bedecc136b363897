"""Every single edit of a function that a person might make to mend it, and what the program reads after one.

An edit is plain data: a part of the text and what stands there instead. The rest of the text stays as it is, byte for
byte. Programs are compared by their syntax trees: no edit leads to the program that another one leads to, or back to
the one that is there.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from bondhu.domains.coding import operators, operators_calls, operators_values
from bondhu.domains.coding.blocks import Rewrite
from bondhu.domains.coding.material import View, arity, view
from bondhu.domains.coding.operators_blocks import MOVES
from bondhu.domains.coding.operators_lines import LINES
from bondhu.domains.coding.operators_several import SEVERAL
from bondhu.domains.coding.scopes import places
from bondhu.domains.coding.trees import Block, Path, Place, Tree, bound_by, top_functions
from bondhu.errors import InvalidInput, UnknownName, nearest

EXPRESSIONS: dict[str, Callable[[View, Place], Iterator[ast.expr]]] = {
    function.__name__: function
    for function in (
        operators.comparison_operator, operators.arithmetic_operator, operators.boolean_operator,
        operators.condition_negated, operators.unary_operator, operators.operands_exchanged, operators.regrouped,
        operators.operand_removed, operators_values.constant_changed, operators_values.variable,
        operators_calls.function_name, operators_calls.attribute_name, operators_calls.arguments,
        operators_values.subexpression, operators_values.elements, operators_calls.slice_bound,
        operators.operand_inserted, operators.condition_term, operators_values.comprehension, operators_calls.keyword,
        operators_calls.slice_inserted, operators_calls.call_wrapped, operators_calls.method_called,
        operators_values.constant_replaced, operators_values.variable_replaced,
        operators_values.expression_to_variable,
    )
}  # fmt: skip
STATEMENTS: dict[str, Callable[[View, Block], Iterator[Rewrite]]] = {**MOVES, **SEVERAL, **LINES}
Shaped = tuple[int, "Edit"]
OPERATORS: tuple[str, ...] = (*EXPRESSIONS, *STATEMENTS)


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a module's source. `source[start:end]` is `before`, and becomes `after`."""

    operator: str
    line: int  # of the source, from 1, at which the change begins
    path: Path  # from the module to the node that changes: fields, and places in lists
    before: str
    after: str
    start: int  # characters
    end: int
    function: str  # in which it is


def applied(source: str, edit: Edit) -> str:
    """The source after an edit. Raises InvalidInput where the edit is one of another source."""
    if source[edit.start : edit.end] != edit.before:
        raise InvalidInput(
            f"The edit at line {edit.line} does not fit: the source reads {source[edit.start : edit.end]!r} there, "
            f"not {edit.before!r}.", field="edit", value=edit, fix="Apply it to the source that it was made for.",
        )  # fmt: skip
    return source[: edit.start] + edit.after + source[edit.end :]


def inverse(edit: Edit) -> Edit:
    """The edit that leads back: it is one of the source after `edit`."""
    return replace(edit, before=edit.after, after=edit.before, end=edit.start + len(edit.after))


def edits(source: str, entry: str, only: Collection[str] | None = None, *, helpers: bool = True) -> list[Edit]:
    """All single edits of the function `entry` and of the other functions of the module, in a fixed order.

    `only`: names of operators. Raises InvalidInput if the source does not parse, UnknownName without such a function.
    """
    return [edit for _, edit in _every(_parsed(source), entry, only, helpers)]


def _every(tree: Tree, entry: str, only: Collection[str] | None, helpers: bool) -> Iterator[Shaped]:
    """Every edit with the shape of the program that it leads to."""
    found = sorted(top_functions(tree.root), key=lambda each: each[0].name != entry)
    if not found or found[0][0].name != entry:
        names = [each.name for each, _ in found]
        raise UnknownName(
            f"No function {entry!r} in the source.", field="entry", value=entry, fix=nearest(entry, names)
        )
    known = {each.name: arity(each) for each, path in found if len(path) == 2}
    outer = tuple(dict.fromkeys(name for each in tree.root.body for name in bound_by(each)))
    seen = {tree.original}
    for function, path in found:
        if helpers or function.name == entry:
            yield from _of_function(view(tree, function, path, outer, known), only, seen)


def _parsed(source: str) -> Tree:
    try:
        return Tree(source)
    except (SyntaxError, ValueError) as error:
        raise InvalidInput(f"The source does not parse: {error}.", field="source", value=source,
                           fix="Edits are made of the syntax tree; mend the text first.") from error  # fmt: skip


def _of_function(view: View, only: Collection[str] | None, seen: set[int]) -> Iterator[Shaped]:
    expressions = [(name, operator) for name, operator in EXPRESSIONS.items() if only is None or name in only]
    statements = [(name, operator) for name, operator in STATEMENTS.items() if only is None or name in only]
    for block in view.blocks:
        for place in places(block, view.local):
            for name, operator in expressions:
                yield from _of_place(view, name, operator(view, place), place, seen)
        for name, rewrites in statements:
            yield from _of_block(view, name, rewrites(view, block), block, seen)


def _of_place(view: View, name: str, found: Iterator[ast.expr], place: Place, seen: set[int]) -> Iterator[Shaped]:
    tree = view.tree
    for node in found:
        shape = tree.program({id(place.node): tree.shape(node)})
        if shape in seen:
            continue
        seen.add(shape)
        start, end, after = view.renderer.in_place(place, node)
        before = tree.source[start:end]
        yield shape, Edit(name, place.node.lineno, place.path, before, after, start, end, place.function)


def _of_block(view: View, name: str, found: Iterator[Rewrite], block: Block, seen: set[int]) -> Iterator[Shaped]:
    tree = view.tree
    for rewrite in found:
        shape = tree.program(rewrite.changes)
        if shape in seen:
            continue
        seen.add(shape)
        path = (*block.path, block.field, rewrite.index)
        before = tree.source[rewrite.start : rewrite.end]
        start, end = rewrite.start, rewrite.end
        yield shape, Edit(name, rewrite.line, path, before, rewrite.text, start, end, block.function)


def injected(
    source: str, entry: str, rng: np.random.Generator, only: Collection[str] | None = None
) -> tuple[str, Edit, Edit]:
    """A bug: the source after an edit drawn uniformly, over operators first; the edit; and the one that mends it.

    The last is the edit among `edits(broken, entry)` that leads to the same program as `source`, or, where none of
    them does, the plain inverse (its operator begins with "inverse of"). Raises InvalidInput if there is no edit.
    """
    every = edits(source, entry, only)
    if not every:
        raise InvalidInput("There is nothing to edit.", field="source", value=source, fix="Allow more operators.")
    names = sorted({edit.operator for edit in every})
    chosen = names[int(rng.integers(len(names)))]
    among = [edit for edit in every if edit.operator == chosen]
    edit = among[int(rng.integers(len(among)))]
    broken = applied(source, edit)
    mending = mends(broken, entry, source)
    return broken, edit, mending or replace(inverse(edit), operator=f"inverse of {edit.operator}")


def mends(broken: str, entry: str, right: str) -> Edit | None:
    """The edit of `broken` that leads to the program `right`, compared as syntax trees, if a single one does."""
    tree = _parsed(broken)
    wanted = tree.shape(_parsed(right).root)
    return next((edit for shape, edit in _every(tree, entry, None, True) if shape == wanted), None)
