"""A module's source as a syntax tree whose nodes know their text, their shape and their way from the root.

The shape of a node is a number: two nodes have the same one exactly if `ast.dump` prints them alike (hash consing, see
Filliâtre and Conchon 2006), so that a program is known again for the price of the branch that changed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Step = str | int
Path = tuple[Step, ...]
Key = tuple[object, ...]
Changes = Mapping[int, int]  # id of a node: its new shape
NOTHING: Changes = {}
SILENT = frozenset({"ctx", "kind", "type_comment", "type_ignores"})  # fields that say nothing about what a program does
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """An expression where it stands."""

    node: ast.expr
    parent: ast.AST
    field: str
    index: int | None
    path: Path
    statement: ast.stmt
    function: str
    names: tuple[str, ...]  # variables that may be bound here
    locals: tuple[str, ...] = ()  # variables of the function, wherever they are bound


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """A list of statements, as the body of a loop is one."""

    owner: ast.AST
    field: str
    statements: list[ast.stmt]
    path: Path
    function: str
    loops: int  # that it stands in, within its function
    names: tuple[tuple[str, ...], ...]  # variables that may be bound before each statement, and after the last


class Tree:
    """A parsed module. Raises SyntaxError if it does not parse."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.root = ast.parse(source)
        self.lines: list[str] = LINE.findall(source)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self.parents: dict[int, ast.AST] = {}
        self.frozen: set[int] = set()  # lines that begin within a string: their indentation is its content
        self._numbers: dict[object, int] = {}
        self._shapes: dict[int, int] = {}
        self._keys: dict[int, Key] = {}
        self._slots: dict[int, tuple[int, int]] = {}  # of a node in the key of its parent, and there in a list, or -1
        self._texts: dict[int, str] = {}
        self._read(self.root)
        self.original = self._shapes[id(self.root)]

    def _read(self, node: ast.AST) -> None:
        slot = 0
        for name in node._fields:
            if name in SILENT:
                continue
            slot += 1
            value = getattr(node, name, None)
            for at, child in enumerate(value) if isinstance(value, list) else ((-1, value),):
                if isinstance(child, ast.AST):
                    self.parents[id(child)], self._slots[id(child)] = node, (slot, at)
                    if id(child) not in self._shapes:  # the parser shares the nodes of operators
                        self._read(child)
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and (node.end_lineno or 0) > node.lineno:
            self.frozen.update(range(node.lineno + 1, (node.end_lineno or 0) + 1))
        key = self._keys[id(node)] = self._key(node, {})
        self._shapes[id(node)] = self._number(key)

    def _number(self, key: Key) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def _key(self, node: ast.AST, changed: Mapping[int, int]) -> Key:
        """What the shape of one node is the number of: its kind, and the shapes of its children."""
        key: list[object] = [type(node)]
        for name in node._fields:
            if name in SILENT:
                continue
            value = getattr(node, name, None)
            if isinstance(value, list):
                key.append(tuple([self.shape(each, changed) if isinstance(each, ast.AST) else each for each in value]))
            elif isinstance(value, ast.AST):
                key.append(self.shape(value, changed))
            else:
                key.append((type(value), repr(value)) if isinstance(node, ast.Constant) else value)
        return tuple(key)

    def shape(self, node: ast.AST, changed: Mapping[int, int] = NOTHING) -> int:
        """The number of what the node says; `changed` has other shapes by the id of a node, and -1 for those above."""
        known = changed.get(id(node)) if changed else None
        if known is None:
            known = self._shapes.get(id(node))
        return self._number(self._key(node, changed)) if known is None or known < 0 else known

    def program(self, changes: Changes) -> int:
        """The shape of the whole module after changes to nodes of it."""
        if len(changes) == 1:
            return self._upwards(*next(iter(changes.items())))
        changed = dict(changes)
        for key in changes:
            above = self.parents.get(key)
            while above is not None and changed.setdefault(id(above), -1) == -1:
                above = self.parents.get(id(above))
        return self.shape(self.root, changed)

    def _upwards(self, node: int, shape: int) -> int:
        """The same after a single change: only what is above it is numbered again."""
        while node in self.parents:
            slot, at = self._slots[node]
            node = id(self.parents[node])
            key = self._keys[node]
            inner: object = shape
            if at >= 0:
                items = key[slot]
                assert isinstance(items, tuple)
                inner = (*items[:at], shape, *items[at + 1 :])
            shape = self._number((*key[:slot], inner, *key[slot + 1 :]))
        return shape

    def with_block(self, owner: ast.AST, field: str, statements: Sequence[ast.stmt]) -> int:
        """The shape of a node with other statements in one of its blocks."""
        slot = 1 + [name for name in owner._fields if name not in SILENT].index(field)
        key = self._keys[id(owner)]
        return self._number((*key[:slot], tuple([self.shape(each) for each in statements]), *key[slot + 1 :]))

    def known(self, node: ast.AST) -> bool:
        """Whether the node is one of the source, and no new one."""
        return id(node) in self._shapes

    def position(self, line: int, column: int) -> int:
        """Where in the text a line (from 1) and a column (bytes of UTF-8, as Python counts) are, in characters."""
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        if not text.isascii():
            column = len(text.encode()[:column].decode())
        return self.starts[line - 1] + column

    def span(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg) -> tuple[int, int]:
        assert node.end_lineno is not None  # the parser always says
        assert node.end_col_offset is not None
        return self.position(node.lineno, node.col_offset), self.position(node.end_lineno, node.end_col_offset)

    def text(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg) -> str:
        known = self._texts.get(id(node))
        if known is None:
            start, end = self.span(node)
            known = self._texts[id(node)] = self.source[start:end]
        return known


def top_functions(root: ast.Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, Path]]:
    """The functions of a module and the methods of its classes; not those within functions."""
    for index, statement in enumerate(root.body):
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield statement, ("body", index)
        elif isinstance(statement, ast.ClassDef):
            for number, each in enumerate(statement.body):
                if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield each, ("body", index, "body", number)


def parameters(arguments: ast.arguments) -> list[str]:
    """Names of the parameters, in order."""
    every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    return [each.arg for each in every if each is not None]


def is_text(statement: ast.stmt) -> bool:
    """Whether it is a string that stands by itself, such as a docstring."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def joined(names: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """Both without repetition, in order."""
    return tuple(dict.fromkeys((*names, *more)))


def bound_by(node: ast.AST) -> list[str]:
    """Variables that a target, or the head of a statement, binds."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
        return []  # they are called, not computed with
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
