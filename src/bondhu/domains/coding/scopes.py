"""Where expressions and blocks of a function stand, and which variables may be bound there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import chain

from bondhu.domains.coding.trees import Block, Path, Place, bound_by, is_text, joined, parameters

Function = ast.FunctionDef | ast.AsyncFunctionDef
Names = tuple[str, ...]
NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
BLOCKS = ("body", "orelse", "finalbody")
SKIPPED = frozenset({"annotation", "returns", "decorator_list", "pattern", "cases", "bases", "keywords_of_class"})


def blocks(function: Function, path: Path, outer: Names = ()) -> Iterator[Block]:
    """The blocks of a function in the order of the source, those of functions within it too."""
    yield from _block(function, "body", path, function.name, 0, joined(outer, parameters(function.args)))


def _block(owner: ast.AST, field: str, path: Path, function: str, loops: int, names: Names) -> Iterator[Block]:
    statements: list[ast.stmt] = getattr(owner, field)
    before, inner = [], []
    for index, statement in enumerate(statements):
        before.append(names)
        at = (*path, field, index)
        inner.append(_within(statement, at, function, loops, names))
        names = joined(names, bound_by(statement))
    before.append(names)
    yield Block(owner, field, statements, path, function, loops, tuple(before))
    yield from chain.from_iterable(inner)


def _within(statement: ast.stmt, path: Path, function: str, loops: int, names: Names) -> Iterator[Block]:
    """The blocks of one statement."""
    if isinstance(statement, NESTED):
        if not isinstance(statement, ast.ClassDef):
            yield from blocks(statement, path, names)
        return
    heads = [getattr(statement, "target", None), *(each.optional_vars for each in getattr(statement, "items", ()))]
    names = joined(names, [name for head in heads if head is not None for name in bound_by(head)])
    for field in BLOCKS:
        if getattr(statement, field, None):
            looped = loops + (isinstance(statement, LOOPS) and field == "body")
            yield from _block(statement, field, path, function, looped, names)
            names = joined(names, [name for each in getattr(statement, field) for name in bound_by(each)])
    handlers = () if isinstance(statement, ast.TryStar) else getattr(statement, "handlers", ())
    for index, handler in enumerate(handlers):  # those of `except*` allow no way out
        caught = joined(names, [handler.name] if handler.name else [])
        yield from _block(handler, "body", (*path, "handlers", index), function, loops, caught)


def places(block: Block, local: Names) -> Iterator[Place]:
    """The expressions in the statements of a block, outermost first; not those in blocks within it."""
    for index, statement in enumerate(block.statements):
        if is_text(statement) or isinstance(statement, (*NESTED, ast.Import, ast.ImportFrom)):
            continue
        first = Place(ast.Constant(None), statement, "", None, (*block.path, block.field, index), statement,
                      block.function, block.names[index], local)  # fmt: skip
        yield from _children(statement, first)


def _children(node: ast.AST, above: Place) -> Iterator[Place]:
    """Below one node: every child with what is bound there."""
    if isinstance(node, ast.JoinedStr):
        return  # before Python 3.12 the parser does not say where the parts stand
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
        yield from _comprehension(node, above)
        return
    names = joined(above.names, parameters(node.args)) if isinstance(node, ast.Lambda) else above.names
    for field in node._fields:
        if field in SKIPPED:
            continue
        value = getattr(node, field, None)
        if isinstance(value, list):
            for index, each in enumerate(value):
                if isinstance(each, ast.AST) and not isinstance(each, (ast.stmt, ast.excepthandler)):
                    yield from _at(each, node, field, index, _named(above, names))
        elif isinstance(value, ast.AST):
            yield from _at(value, node, field, None, _named(above, names))


def _named(above: Place, names: Names) -> Place:
    if names is above.names:
        return above
    return Place(above.node, above.parent, above.field, above.index, above.path, above.statement, above.function,
                 names, above.locals)  # fmt: skip


def _at(node: ast.AST, parent: ast.AST, field: str, index: int | None, above: Place) -> Iterator[Place]:
    path = (*above.path, field) if index is None else (*above.path, field, index)
    at = Place(node if isinstance(node, ast.expr) else above.node, parent, field, index, path, above.statement,
               above.function, above.names, above.locals)  # fmt: skip
    if isinstance(node, ast.expr):
        yield at
    yield from _children(node, at)


def _comprehension(node: ast.AST, above: Place) -> Iterator[Place]:
    """Iterables see the targets before them; conditions and elements see all."""
    names = above.names
    inner: list[Iterator[Place]] = []
    for index, each in enumerate(node.generators):  # type: ignore[attr-defined]  # every comprehension has them
        at = _named(above, names)
        at = Place(at.node, node, "generators", index, (*above.path, "generators", index), at.statement, at.function,
                   names, at.locals)  # fmt: skip
        inner.append(_at(each.iter, each, "iter", None, at))
        names = joined(names, bound_by(each.target))
        at = _named(at, names)
        inner.append(_at(each.target, each, "target", None, at))
        inner += [_at(test, each, "ifs", number, at) for number, test in enumerate(each.ifs)]
    element = _named(above, names)
    parts = ("key", "value") if isinstance(node, ast.DictComp) else ("elt",)
    for part in parts:
        yield from _at(getattr(node, part), node, part, None, element)
    yield from chain.from_iterable(inner)
