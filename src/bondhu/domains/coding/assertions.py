"""Test code taken apart into single assertions, each with the statements before it that it needs.

Test code is trusted, the program is not. Where a test makes exactly one call, its arguments are evaluated here, by
running the test as far as that call; the program then answers all such calls of a task in one execution.
"""

from __future__ import annotations

import ast
import builtins
import copy
import random
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO, TextIOWrapper
from types import CodeType
from typing import Any

from bondhu.domains.coding.tasks import Test
from bondhu.errors import InvalidInput
from bondhu.sandbox.program import Call

BUILTIN = frozenset(dir(builtins))
REPEATED = (ast.For, ast.AsyncFor, ast.While, ast.comprehension, ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
SCALARS = (type(None), bool, int, float, complex, str, bytes)


@dataclass(frozen=True)
class Group:
    """Statements of one scope, in order, of which some are tests."""

    name: str
    statements: list[ast.stmt]
    function: ast.stmt | None = None  # whose body they are


class Reached(BaseException):
    """The test has come to its call. No `except Exception` of a test may catch it."""

    def __init__(self, call: Call) -> None:
        self.call = call


def assertions(code: str, entry: str, preamble: str = "", name: str = "test") -> tuple[Test, ...]:
    """The tests in `code`: bodies of `check(candidate)` functions and of `test_…()` functions, and what stands outside
    of them. Loops, `try` and `with` stay whole. `preamble` stands before the code where it runs.

    Raises InvalidInput where the code does not parse, or holds tests that cannot be taken apart: to leave them out
    would let wrong programs pass.
    """
    tree = parsed(code, "test code")
    found = [(group, list(_alone(group.statements, entry))) for group in _groups(tree, entry, name)]
    if left := _left_out(tree, found):
        what = f"These tests cannot be taken apart into assertions about {entry!r}: {', '.join(left)}."
        fix = (
            f"Write plain assertions about {entry!r} in functions test_…() with no parameters, decorators or return, "
            "or use bondhu.domains.coding.repository for tests that need pytest itself."
        )
        raise InvalidInput(what, field="test", value=left, fix=fix)
    return tuple(
        _test(f"{group.name}[{number}]", statements, entry, preamble)
        for group, tests in found
        for number, statements in enumerate(tests)
    )


def decoded(data: bytes, where: str) -> str:
    """The text of a Python file in the encoding that it declares, which is UTF-8 otherwise. Raises InvalidInput."""
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
        return TextIOWrapper(BytesIO(data), encoding).read()  # line ends as Python reads them
    except (SyntaxError, UnicodeError, LookupError) as error:  # the last: `coding: hex`, which gives no text
        fix = "Save it as UTF-8, or declare its encoding in the first line: # -*- coding: latin-1 -*-"
        raise InvalidInput(f"{where} cannot be decoded: {error}.", value=where, fix=fix) from error


def parsed(code: str, what: str) -> ast.Module:
    """The syntax tree. Raises InvalidInput."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in code that is not ours is none of the reader's business
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InvalidInput(f"The {what} does not parse: {error}.", value=code[:200], fix="Mend it.") from error


def compiled(tree: ast.Module | ast.Expression, file: str) -> CodeType:
    """The tree as code, without a word on `is 3` and the like."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compile(
            ast.fix_missing_locations(tree),
            file,
            "eval" if isinstance(tree, ast.Expression) else "exec",
            dont_inherit=True,
        )


def plain(value: Any, depth: int = 50) -> bool:
    """Whether it is plain data of exact built-in types, which the sandbox takes."""
    if type(value) in SCALARS:
        return True
    if depth and type(value) in (tuple, list, set, frozenset):
        return all(plain(each, depth - 1) for each in value)
    if depth and type(value) is dict:
        return all(plain(key, depth - 1) and plain(each, depth - 1) for key, each in value.items())
    return False


def only_call(tree: ast.AST, entry: str) -> ast.Call | None:
    """The one call of `entry`, where it is mentioned once, and there is called at most once."""
    if sum(isinstance(node, ast.Name) and node.id == entry for node in ast.walk(tree)) != 1:
        return None
    return next(
        (node for node in _once(tree) if isinstance(node, ast.Call) and _is_name(node.func, entry)),
        None,
    )


def _once(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that are evaluated at most once."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*REPEATED, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            yield from _once(child)


def _groups(tree: ast.Module, entry: str, name: str) -> list[Group]:
    """What stands outside, and the body of every function that is called with the entry or that is a test by name."""
    called = {
        each.value.func.id
        for each in tree.body
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call) and isinstance(each.value.func, ast.Name)
    }
    groups, outside = list[Group](), list[ast.stmt]()
    for each in tree.body:
        if isinstance(each, ast.FunctionDef) and _is_test(each, called) and not _leaves(each):
            parameter = each.args.args[0].arg if each.args.args else entry
            groups.append(Group(each.name, [*outside, *_renamed(each.body, parameter, entry)], each))
        elif not (isinstance(each, ast.Expr) and _calls_test(each.value, groups)):
            outside.append(each)
    checked = [each for each in outside if _is_check(each, entry)]
    return [Group(name, outside), *groups] if checked else groups


def looks_like_test(node: ast.AST) -> bool:
    """Whether pytest would look for tests in it."""
    if isinstance(node, ast.ClassDef):
        return node.name.startswith("Test") or any(
            looks_like_test(each) for each in node.body if not isinstance(each, ast.ClassDef)
        )
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test")


def _left_out(tree: ast.Module, found: list[tuple[Group, list[list[ast.stmt]]]]) -> list[str]:
    """The names of what looks like a test but became none, and is no helper of one either."""
    taken = [group.function for group, tests in found if tests]
    helpers = {
        node.id
        for _, tests in found
        for statements in tests
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and node.id != getattr(statement, "name", "")
    }
    return [
        node.name
        for each in tree.body
        for node in of_scope(each)
        if isinstance(node, DEFINITIONS) and looks_like_test(node)
        # What stands in a branch is only defined there: nobody calls it.
        if node is not each or not (each in taken or node.name in helpers)
    ]


def _is_test(function: ast.FunctionDef, called: set[str]) -> bool:
    parameters = function.args
    if function.decorator_list or parameters.kwonlyargs or parameters.vararg or parameters.kwarg:
        return False
    count = len(parameters.posonlyargs) + len(parameters.args)
    asserts = any(isinstance(node, ast.Assert) for node in ast.walk(function))
    if count == 1:
        return asserts and (function.name == "check" or function.name in called)
    return asserts and count == 0 and function.name.startswith("test")


def _leaves(function: ast.FunctionDef) -> bool:
    """Whether its statements mean something only inside of a function."""
    kinds = (ast.Return, ast.Yield, ast.YieldFrom, ast.Await, ast.Nonlocal, ast.Global)
    return any(isinstance(node, kinds) for each in function.body for node in of_scope(each))


def of_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Without the inside of functions and classes."""
    yield node
    if not isinstance(node, (*DEFINITIONS, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from of_scope(child)


def _calls_test(node: ast.expr, groups: list[Group]) -> bool:
    return isinstance(node, ast.Call) and any(_is_name(node.func, group.name) for group in groups)


def _renamed(body: list[ast.stmt], parameter: str, entry: str) -> list[ast.stmt]:
    """The body with the entry's name for the parameter's."""
    body = copy.deepcopy(body)
    for each in body:
        for node in ast.walk(each):
            if isinstance(node, ast.Name) and node.id == parameter:
                node.id = entry
    return body


def _alone(statements: list[ast.stmt], entry: str) -> Iterator[list[ast.stmt]]:
    """For each test among the statements: those before it that it needs, and itself."""
    for place, statement in enumerate(statements):
        if not _is_check(statement, entry):
            continue
        needed, kept = _names(statement) - {entry}, [statement]
        for earlier in reversed(statements[:place]):
            # What was assigned is needed; so is what may have changed something since, but no other test is.
            touched = _bound(earlier) if _is_check(earlier, entry) else _names(earlier)
            if touched & needed:
                needed |= _names(earlier) - {entry}
                kept.append(earlier)
        tested = kept if any(_mentions(each, entry) for each in kept) else []
        if tested:
            yield tested[::-1]


def _is_check(statement: ast.stmt, entry: str) -> bool:
    """Whether it says something about the program: it asserts, or calls the entry for nothing but its effect."""
    if isinstance(statement, DEFINITIONS):
        return False
    effect = isinstance(statement, (ast.Expr, ast.Try, ast.With, ast.For, ast.While)) and _mentions(statement, entry)
    return effect or any(isinstance(node, ast.Assert) for node in ast.walk(statement))


def _mentions(node: ast.AST, name: str) -> bool:
    return any(_is_name(each, name) for each in ast.walk(node))


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _names(statement: ast.AST) -> set[str]:
    """Every name that it mentions, but for those that Python brings."""
    mentioned = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return (mentioned - BUILTIN) | _bound(statement)


def _bound(statement: ast.AST) -> set[str]:
    """The names that it gives a meaning to."""
    bound = set[str]()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, DEFINITIONS):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    return bound


def _test(name: str, statements: list[ast.stmt], entry: str, preamble: str) -> Test:
    tree = ast.Module(statements, [])
    code = ast.unparse(tree)
    return Test(name, code, _call(code, entry, preamble) if only_call(tree, entry) else None)


def _call(code: str, entry: str, preamble: str) -> Call | None:
    """What the test's one call is given, found by running it as far as there."""

    def arrive(*arguments: Any, **keywords: Any) -> None:
        raise Reached(Call(arguments, keywords))

    before = random.getstate()
    random.seed(0)  # the same numbers wherever the test runs
    try:
        names = namespace(preamble)
        exec(compiled(parsed(code, "test"), "<test>"), names | {entry: arrive})  # noqa: S102 (test code is trusted)
    except Reached as reached:
        given = (reached.call.arguments, dict(reached.call.keywords))
        return Call(*copy.deepcopy(given)) if plain(given) else None
    except KeyboardInterrupt:
        raise
    except BaseException:
        # It needs more than there is here, or leaves by sys.exit or pytest.skip, which must not end whoever reads it:
        # the judge will say so.
        return None
    finally:
        random.setstate(before)
    return None


def namespace(preamble: str) -> dict[str, Any]:
    """What the preamble defines. Raises whatever it raises."""
    names: dict[str, Any] = {"__name__": "tests"}
    exec(_preamble(preamble), names)  # noqa: S102 (test code is trusted)
    return names


@lru_cache(maxsize=256)  # tasks at a time; their tests come one after the other
def _preamble(code: str) -> CodeType:
    return compiled(parsed(code, "preamble"), "<preamble>")
