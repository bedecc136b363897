"""The lines of statements, and how to write others in their place."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bondhu.domains.coding.trees import Block, Tree

Statement = ast.stmt
REST = re.compile(r"[ \t]*;?[ \t]*(#.*)?(\r\n|\r|\n)?$")
UNMOVED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)
ENDING = (ast.Return, ast.Raise, ast.Break, ast.Continue)  # nothing after them is executed
INDENT = "    "


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Part of the text replaced, and what that does to the tree: new shapes by the id of a node."""

    start: int
    end: int
    text: str
    line: int
    index: int  # of the statement in its block
    changes: dict[int, int]


def first_line(statement: Statement) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(each.lineno for each in decorators)])


def last_line(statement: Statement) -> int:
    return statement.end_lineno or statement.lineno


def indentation(tree: Tree, statement: Statement) -> str:
    line = tree.lines[statement.lineno - 1]
    return line[: len(line) - len(line.lstrip())]


def alone(tree: Tree, statement: Statement) -> bool:
    """Whether its lines hold nothing else but comments, so that it can be taken out whole."""
    start, end = tree.span(statement)
    if isinstance(statement, ast.If) and tree.source.startswith("elif", start):
        return False
    before = tree.source[tree.starts[statement.lineno - 1] : start]
    after = tree.source[end : tree.starts[last_line(statement)]]
    return not before.strip() and REST.match(after) is not None


def indented_body(tree: Tree, owner: ast.AST, field: str) -> bool:
    """Whether a block stands on lines of its own below its head."""
    statements: list[Statement] = getattr(owner, field)
    return bool(statements) and all(alone(tree, each) for each in statements)


def moved_lines(tree: Tree, first: int, last: int, old: str, new: str) -> str:
    """Lines from `first` to `last` with another indentation; what begins within a string stays as it is."""
    result = []
    for number in range(first, last + 1):
        line = tree.lines[number - 1]
        if number not in tree.frozen and line.strip() and line.startswith(old):
            line = new + line[len(old) :]
        result.append(line)
    return ended("".join(result))


def moved(tree: Tree, statement: Statement, new: str) -> str:
    """A statement's lines with another indentation."""
    return moved_lines(tree, first_line(statement), last_line(statement), indentation(tree, statement), new)


def ended(text: str) -> str:
    """With a line break at the end."""
    return text if text.endswith(("\n", "\r")) or not text else text + "\n"


def copied(node: Any, **changes: Any) -> Any:
    """The same node with other fields; what it holds is shared."""
    return type(node)(**{name: getattr(node, name, None) for name in node._fields} | changes)


def rewrite(tree: Tree, block: Block, at: int, until: int, statements: Sequence[Statement], text: str) -> Rewrite:
    """Statements from `at` to `until`, not included, replaced by others; `text` is whole lines.

    With `at` equal to `until` they are inserted before that statement, or after the last.
    """
    old = block.statements
    if at < until:
        line, last = first_line(old[at]), last_line(old[until - 1])
        start, end = tree.starts[line - 1], tree.starts[last]
    else:
        line = first_line(old[at]) if at < len(old) else last_line(old[-1]) + 1
        start = end = tree.starts[line - 1]
    text = ended(text)
    if start and tree.source[start - 1] not in "\r\n":
        start, end, text = len(tree.source), len(tree.source), "\n" + text  # the file ends without a line break
    shape = tree.with_block(block.owner, block.field, [*old[:at], *statements, *old[until:]])
    return Rewrite(start, end, text, min(line, len(tree.lines)), at, {id(block.owner): shape})


def replaced(tree: Tree, block: Block, at: int, statement: Statement, text: str) -> Rewrite:
    """A simple statement by another one, in the same line."""
    start, end = tree.span(block.statements[at])
    changes: dict[int, int] = {id(block.statements[at]): tree.shape(statement)}
    return Rewrite(start, end, text, block.statements[at].lineno, at, changes)
