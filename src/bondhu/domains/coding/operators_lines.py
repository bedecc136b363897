"""Operators that write new statements, or change one's kind."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from bondhu.domains.coding.blocks import ENDING, INDENT, Rewrite, alone, indentation, replaced, rewrite
from bondhu.domains.coding.material import View
from bondhu.domains.coding.operators import call, constant, name, operators_of
from bondhu.domains.coding.rendering import OPERATORS as WRITTEN
from bondhu.domains.coding.trees import Block, Tree, is_text

Found = Iterator[Rewrite]
USUAL: tuple[object, ...] = (None, False, True, 0, -1, "", [])


def _store(of: str) -> ast.Name:
    return ast.Name(of, ast.Store())


def _written(view: View, statement: ast.stmt) -> str:
    """A new simple statement."""
    text = view.renderer.text
    if isinstance(statement, ast.Return):
        return f"return {text(statement.value)}" if statement.value else "return"
    if isinstance(statement, ast.AugAssign):
        return f"{text(statement.target)} {WRITTEN[type(statement.op)]}= {text(statement.value)}"
    if isinstance(statement, ast.Assign):
        return " = ".join(text(each) for each in (*statement.targets, statement.value))
    if isinstance(statement, ast.Expr):
        return text(statement.value)
    return type(statement).__name__.lower()


def _inserted(view: View, block: Block, at: int, statement: ast.stmt) -> Rewrite:
    indent = indentation(view.tree, block.statements[min(at, len(block.statements) - 1)])
    return rewrite(view.tree, block, at, at, [statement], f"{indent}{_written(view, statement)}\n")


def _first(block: Block) -> int:
    """Behind the docstring, and what must come first."""
    skipped = (ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)
    at = 0
    while at < len(block.statements) and (is_text(block.statements[at]) or isinstance(block.statements[at], skipped)):
        at += 1
    return at


def _ends(tree: Tree, block: Block) -> list[int]:
    """Where something can be inserted at the start and at the end of a block that stands on lines of its own."""
    old = block.statements
    if not all(alone(tree, each) for each in old) or any(isinstance(each, (ast.Global, ast.Nonlocal)) for each in old):
        return []
    last = len(old) - 1 if isinstance(old[-1], ENDING) else len(old)
    return sorted({min(_first(block), last), last})


def _whole(view: View, block: Block) -> bool:
    return len(block.path) <= len(view.path) and block.owner is view.function


def assignment_kind(view: View, block: Block) -> Found:
    """Another augmented assignment, a plain one, or the other way round; a value that is dropped is returned."""
    for at, each in enumerate(block.statements):
        if isinstance(each, ast.AugAssign):
            for other in operators_of(each.op):
                new: ast.stmt = ast.AugAssign(each.target, other(), each.value)
                yield replaced(view.tree, block, at, new, _written(view, new))
            new = ast.Assign([each.target], each.value)
            yield replaced(view.tree, block, at, new, _written(view, new))
        elif isinstance(each, ast.Assign) and len(each.targets) == 1:
            if isinstance(each.targets[0], (ast.Name, ast.Subscript, ast.Attribute)):
                for operator in (ast.Add, ast.Sub, ast.Mult):
                    new = ast.AugAssign(each.targets[0], operator(), each.value)
                    yield replaced(view.tree, block, at, new, _written(view, new))
            new = ast.Return(each.value)
            yield replaced(view.tree, block, at, new, _written(view, new))
        elif (
            isinstance(each, ast.Expr) and not is_text(each) and not isinstance(each.value, (ast.Yield, ast.YieldFrom))
        ):
            new = ast.Return(each.value)
            yield replaced(view.tree, block, at, new, _written(view, new))


def way_out(view: View, block: Block) -> Found:
    """`break`, `continue` and `return` for each other; one more at the end of a block, or none."""
    tree, old = view.tree, block.statements
    ways: list[ast.stmt] = [ast.Break(), ast.Continue()] if block.loops else []
    ways += [ast.Return(constant(each)) for each in (True, False, None)]
    last = old[-1]
    if isinstance(last, (ast.Break, ast.Continue, ast.Pass, ast.Return)):
        local = (
            []
            if not isinstance(last, ast.Return) or last.value
            else [ast.Return(name(each)) for each in block.names[-1]]
        )
        for way in (*ways, *local):
            if alone(tree, last) and not (isinstance(last, ast.Return) and isinstance(way, ast.Return) and not local):
                yield replaced(tree, block, len(old) - 1, way, _written(view, way))
        return
    if not all(alone(tree, each) for each in old) or is_text(last):
        return
    if _whole(view, block):
        ways = [ast.Return(name(each)) for each in block.names[-1] if each in view.local] + ways[-3:]
    elif not isinstance(block.owner, (ast.For, ast.While)):
        ways += [ast.Return(constant(each)) for each in view.results]
    for way in ways:
        yield _inserted(view, block, len(old), way)


def guard_inserted(view: View, block: Block) -> Found:
    """`if not x: return …` at the start of the function, `if not x: continue` at the start of a loop."""
    tree, at = view.tree, _first(block)
    if at >= len(block.statements) or not alone(tree, block.statements[at]):
        return
    indent = indentation(tree, block.statements[at])
    if _whole(view, block):
        kinds = {(type(each), str(each)): each for each in (*view.results, *USUAL)}
        ways: list[ast.stmt] = [ast.Return(ast.List([], ast.Load()) if each == [] and isinstance(each, list)
                                           else constant(each)) for each in kinds.values()]  # fmt: skip
        names = [each for each in block.names[0] if each in view.local]
    elif isinstance(block.owner, (ast.For, ast.While)) and block.field == "body":
        ways, names = [ast.Continue(), ast.Break()], [each for each in block.names[0] if each in view.local][-3:]
    else:
        return
    for each in names:
        for test in _emptiness(view, each):
            for way in ways:
                text = f"{indent}if {view.renderer.text(test)}:\n{indent}{INDENT}{_written(view, way)}\n"
                yield rewrite(tree, block, at, at, [ast.If(test, [way], [])], text)


def _emptiness(view: View, variable: str) -> Iterator[ast.expr]:
    """What is asked of a value before something is done with it."""
    if variable in view.numeric:
        for operator, value in ((ast.Lt, 0), (ast.Eq, 0), (ast.Eq, 1), (ast.Lt, 2)):
            yield ast.Compare(name(variable), [operator()], [constant(value)])
    else:
        yield ast.UnaryOp(ast.Not(), name(variable))
        yield ast.Compare(call("len", name(variable)), [ast.Eq()], [constant(1)])


def assignment_inserted(view: View, block: Block) -> Found:
    """A variable counted up or down, or computed with another one, at the start or end of a block."""
    if _whole(view, block):
        yield from _prepared(view, block)
    for at in _ends(view.tree, block):
        numeric = [each for each in block.names[at] if each in view.numeric and each in view.local]
        for each in numeric:
            values: list[ast.expr] = [constant(1), *(name(other) for other in numeric if other != each)]
            for value in values:
                for operator in (ast.Add, ast.Sub, ast.Mult) if isinstance(value, ast.Name) else (ast.Add, ast.Sub):
                    yield _inserted(view, block, at, ast.AugAssign(_store(each), operator(), value))


def _prepared(view: View, block: Block) -> Found:
    """A parameter sorted, copied or put in lower case first."""
    at = _first(block)
    if at >= len(block.statements) or not alone(view.tree, block.statements[at]):
        return
    for each in block.names[0]:
        if each in view.numeric or each not in view.local:
            values: list[ast.expr] = [call(word, name(each)) for word in ("abs", "int") if each in view.local]
        else:
            values = [call(word, name(each)) for word in ("list", "sorted", "set", "str")]
            values += [
                ast.Call(ast.Attribute(name(each), word, ast.Load()), [], []) for word in ("lower", "strip", "copy")
            ]
        for value in values:
            yield _inserted(view, block, at, ast.Assign([_store(each)], value))


def statement_repeated(view: View, block: Block) -> Found:
    """A short statement of the function once more at the start or end of another block."""
    kinds = (ast.AugAssign, ast.Assign, ast.Expr)
    every = [each for other in view.blocks for each in other.statements]
    short = [each for each in every if isinstance(each, kinds) and not is_text(each)]
    for at in _ends(view.tree, block):
        names = set(block.names[at])
        for each in short:
            read = {node.id for node in ast.walk(each) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
            if each.lineno == each.end_lineno and read & set(view.local) <= names and "\n" not in view.tree.text(each):
                indent = indentation(view.tree, block.statements[min(at, len(block.statements) - 1)])
                yield rewrite(view.tree, block, at, at, [each], f"{indent}{view.tree.text(each)}\n")


LINES: dict[str, Callable[[View, Block], Found]] = {
    function.__name__: function
    for function in (assignment_kind,   way_out, guard_inserted,
                     assignment_inserted, statement_repeated)
}  # fmt: skip
