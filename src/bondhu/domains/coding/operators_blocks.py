"""Operators on statements: one less, in another order, in or out of a block, under a condition, or one more."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from bondhu.domains.coding.blocks import (
    ENDING,
    INDENT,
    UNMOVED,
    Rewrite,
    alone,
    copied,
    ended,
    first_line,
    indentation,
    indented_body,
    last_line,
    moved,
    moved_lines,
    replaced,
    rewrite,
)
from bondhu.domains.coding.material import View
from bondhu.domains.coding.operators import OPPOSITE, _free, call, name
from bondhu.domains.coding.trees import Block, Tree, is_text

Found = Iterator[Rewrite]
COMPOUND = (ast.If, ast.For, ast.While)


def movable(tree: Tree, statement: ast.stmt) -> bool:
    """Whether it can be taken out or moved as whole lines."""
    return alone(tree, statement) and not is_text(statement) and not isinstance(statement, UNMOVED)


def leaves(statement: ast.stmt) -> bool:
    """Whether it holds a `break` or `continue` of a loop around it."""
    if isinstance(statement, (ast.Break, ast.Continue)):
        return True
    if isinstance(statement, (ast.For, ast.While)):
        return any(leaves(each) for each in statement.orelse)
    inner = [each for field in ("body", "orelse", "finalbody") for each in getattr(statement, field, ())]
    inner += [each for handler in getattr(statement, "handlers", ()) for each in handler.body]
    return not isinstance(statement, UNMOVED) and any(leaves(each) for each in inner)


def statement_deleted(view: View, block: Block) -> Found:
    """One statement less, or two in a row."""
    tree, old = view.tree, block.statements
    for at, each in enumerate(old):
        if is_text(each) or isinstance(each, (*UNMOVED, ast.Pass)):
            continue
        if len(old) == 1 and not isinstance(each, COMPOUND):
            yield replaced(tree, block, at, ast.Pass(), "pass")
        elif not movable(tree, each):
            continue
        elif len(old) == 1:
            yield rewrite(tree, block, 0, 1, [ast.Pass()], indentation(tree, each) + "pass\n")
        else:
            yield rewrite(tree, block, at, at + 1, [], "")
            if len(old) > at + 2 and movable(tree, old[at + 1]):
                yield rewrite(tree, block, at, at + 2, [], "")


def statements_exchanged(view: View, block: Block) -> Found:
    """Two neighbours in the other order."""
    tree, old = view.tree, block.statements
    for at in range(len(old) - 1):
        one, two = old[at], old[at + 1]
        if movable(tree, one) and movable(tree, two) and not isinstance(one, ENDING):
            between = "".join(tree.lines[last_line(one) : first_line(two) - 1])
            indent = indentation(tree, one)
            text = moved(tree, two, indent) + between + moved(tree, one, indent)
            yield rewrite(tree, block, at, at + 2, [two, one], text)


def statement_moved_in(view: View, block: Block) -> Found:
    """The neighbour of a compound statement becomes the first or last of its block."""
    tree, old = view.tree, block.statements
    for at, owner in enumerate(old):
        if not isinstance(owner, COMPOUND) or not movable(tree, owner):
            continue
        field = "orelse" if owner.orelse else "body"
        if (
            at + 1 < len(old)
            and movable(tree, old[at + 1])
            and indented_body(tree, owner, field)
            and not _elif(tree, owner)
        ):
            text = _lines(tree, first_line(owner), first_line(old[at + 1]) - 1)
            text += moved(tree, old[at + 1], indentation(tree, getattr(owner, field)[0]))
            whole = copied(owner, **{field: [*getattr(owner, field), old[at + 1]]})
            yield rewrite(tree, block, at, at + 2, [whole], text)
        if at and movable(tree, old[at - 1]) and indented_body(tree, owner, "body"):
            text = _lines(tree, last_line(old[at - 1]) + 1, first_line(owner.body[0]) - 1)
            text += moved(tree, old[at - 1], indentation(tree, owner.body[0]))
            text += _lines(tree, first_line(owner.body[0]), last_line(owner))
            whole = copied(owner, body=[old[at - 1], *owner.body])
            yield rewrite(tree, block, at - 1, at + 1, [whole], text)


def statement_moved_out(view: View, block: Block) -> Found:
    """The last of a block moves behind it, the first before it."""
    tree, old = view.tree, block.statements
    for at, owner in enumerate(old):
        if not isinstance(owner, COMPOUND) or not movable(tree, owner) or _elif(tree, owner):
            continue
        field, indent = "orelse" if owner.orelse else "body", indentation(tree, owner)
        body: list[ast.stmt] = getattr(owner, field)
        loop = isinstance(owner, (ast.For, ast.While))
        if len(body) > 1 and indented_body(tree, owner, field):
            last = body[-1]
            if movable(tree, last) and not (loop and field == "body" and leaves(last)):
                text = _lines(tree, first_line(owner), first_line(last) - 1) + moved(tree, last, indent)
                yield rewrite(tree, block, at, at + 1, [copied(owner, **{field: body[:-1]}), last], text)
        if len(owner.body) > 1 and indented_body(tree, owner, "body"):
            first = owner.body[0]
            if movable(tree, first) and not (loop and leaves(first)):
                text = moved(tree, first, indent) + _lines(tree, first_line(owner), first_line(first) - 1)
                text += _lines(tree, last_line(first) + 1, last_line(owner))
                yield rewrite(tree, block, at, at + 1, [first, copied(owner, body=owner.body[1:])], text)


def _lines(tree: Tree, first: int, last: int) -> str:
    return ended("".join(tree.lines[first - 1 : last]))


def _elif(tree: Tree, owner: ast.stmt) -> bool:
    """Whether its last branch begins with `elif`, which shares a line with the condition."""
    below: list[ast.stmt] = getattr(owner, "orelse", [])
    return len(below) == 1 and isinstance(below[0], ast.If) and tree.text(below[0]).startswith("elif")


def condition_unwrapped(view: View, block: Block) -> Found:
    """What stood under a condition is always done; or only one of two branches is left."""
    tree, old = view.tree, block.statements
    for at, owner in enumerate(old):
        if not isinstance(owner, ast.If) or not movable(tree, owner) or tree.text(owner).startswith("elif"):
            continue
        indent = indentation(tree, owner)
        if indented_body(tree, owner, "body"):
            body = moved_lines(
                tree, first_line(owner.body[0]), last_line(owner.body[-1]), indentation(tree, owner.body[0]), indent
            )
            yield rewrite(tree, block, at, at + 1, owner.body, body)
        if owner.orelse and indented_body(tree, owner, "orelse") and not _elif(tree, owner):
            below = owner.orelse
            text = moved_lines(tree, first_line(below[0]), last_line(below[-1]), indentation(tree, below[0]), indent)
            yield rewrite(tree, block, at, at + 1, below, text)
            head = _lines(tree, first_line(owner), last_line(owner.body[-1]))
            yield rewrite(tree, block, at, at + 1, [copied(owner, orelse=[]), *below], head + text)
            yield rewrite(tree, block, at, at + 1, [copied(owner, orelse=[])], head)
        elif _elif(tree, owner):
            first = owner.orelse[0]
            head = _lines(tree, first_line(owner), first_line(first) - 1)
            text = (
                indent + tree.source[tree.position(first.lineno, first.col_offset) + 2 : tree.starts[last_line(first)]]
            )
            yield rewrite(tree, block, at, at + 1, [copied(owner, orelse=[]), first], head + text)
            yield rewrite(
                tree,
                block,
                at,
                at + 1,
                [copied(owner, orelse=[])],
                _lines(tree, first_line(owner), last_line(owner.body[-1])),
            )


def else_added(view: View, block: Block) -> Found:
    """What follows a condition is done only otherwise."""
    tree, old = view.tree, block.statements
    for at, owner in enumerate(old[:-1]):
        if (
            not isinstance(owner, ast.If)
            or owner.orelse
            or not movable(tree, owner)
            or tree.text(owner).startswith("elif")
        ):
            continue
        indent = indentation(tree, owner)
        for until in sorted({at + 2, len(old)}):
            rest = old[at + 1 : until]
            if not all(movable(tree, each) for each in rest):
                continue
            head = _lines(tree, first_line(owner), last_line(owner)) + f"{indent}else:\n"
            text = moved_lines(tree, last_line(owner) + 1, last_line(rest[-1]), indent, indent + INDENT)
            if len(rest) == 1 and isinstance(rest[0], ast.If):
                head = _lines(tree, first_line(owner), first_line(rest[0]) - 1)
                start = tree.starts[rest[0].lineno - 1] + len(indent)
                text = f"{indent}el" + tree.source[start : tree.starts[last_line(rest[0])]]
            yield rewrite(tree, block, at, until, [copied(owner, orelse=rest)], head + text)


def branches_exchanged(view: View, block: Block) -> Found:
    """The branches of a condition the other way round."""
    tree, old = view.tree, block.statements
    for at, owner in enumerate(old):
        if not isinstance(owner, ast.If) or not owner.orelse or _elif(tree, owner) or not movable(tree, owner):
            continue
        if not (indented_body(tree, owner, "body") and indented_body(tree, owner, "orelse")):
            continue
        one, two = owner.body, owner.orelse
        texts = [_lines(tree, first_line(each[0]), last_line(each[-1])) for each in (two, one)]
        head = _lines(tree, first_line(owner), first_line(one[0]) - 1)
        between = _lines(tree, last_line(one[-1]) + 1, first_line(two[0]) - 1)
        whole = copied(owner, body=two, orelse=one)
        yield rewrite(tree, block, at, at + 1, [whole], head + texts[0] + between + texts[1])


def loop_or_condition(view: View, block: Block) -> Found:
    """`while` for `if`, and `if` for `while`."""
    tree = view.tree
    for at, owner in enumerate(block.statements):
        if not isinstance(owner, (ast.If, ast.While)) or tree.text(owner).startswith("elif"):
            continue
        if isinstance(owner, ast.If) and _elif(tree, owner):
            continue
        if isinstance(owner, ast.While) and (block.loops == 0 and any(leaves(each) for each in owner.body)):
            continue
        start = tree.span(owner)[0]
        old, new, kind = ("if", "while", ast.While) if isinstance(owner, ast.If) else ("while", "if", ast.If)
        changes: dict[int, int] = {id(owner): tree.shape(kind(owner.test, owner.body, owner.orelse))}
        yield Rewrite(start, start + len(old), new, owner.lineno, at, changes)


def statement_guarded(view: View, block: Block) -> Found:
    """A statement is done under a condition: one of the function's, or that two loop variables are equal."""
    tree, old = view.tree, block.statements
    for at, each in enumerate(old):
        if not movable(tree, each) or isinstance(each, (ast.For, ast.While, ast.If, ast.Pass)):
            continue
        if isinstance(each, ast.Return) and len(block.path) <= len(view.path):
            continue
        indent = indentation(tree, each)
        for test in _tests(view, block, at):
            text = f"{indent}if {view.renderer.text(test, 1)}:\n" + moved(tree, each, indent + INDENT)
            yield rewrite(tree, block, at, at + 1, [ast.If(test, [each], [])], text)


def _tests(view: View, block: Block, at: int) -> Iterator[ast.expr]:
    names = set(block.names[at])
    for test in view.conditions:
        if _free(test) <= names:
            yield test
            if isinstance(test, ast.Compare) and len(test.ops) == 1:
                yield ast.Compare(test.left, [OPPOSITE[type(test.ops[0])]()], test.comparators)
    loops = [each for each in block.names[at] if each in _loop_variables(view)]
    pairs = [(one, two) for number, one in enumerate(loops) for two in loops[number + 1 :]]
    for one, two in pairs:
        for operator in (ast.Eq, ast.NotEq, ast.Lt, ast.Gt):
            yield ast.Compare(name(one), [operator()], [name(two)])
    for function, arity in view.callables.items():
        if arity == 1 and function != view.function.name:
            yield from (call(function, name(each)) for each in loops)


def _loop_variables(view: View) -> set[str]:
    found = [each.target for each in ast.walk(view.function) if isinstance(each, ast.For)]
    return {each.id for target in found for each in ast.walk(target) if isinstance(each, ast.Name)}


MOVES: dict[str, Callable[[View, Block], Found]] = {
    function.__name__: function
    for function in (statement_deleted, statements_exchanged, statement_moved_in, statement_moved_out,
                     condition_unwrapped, else_added, branches_exchanged, loop_or_condition, statement_guarded)
}  # fmt: skip
