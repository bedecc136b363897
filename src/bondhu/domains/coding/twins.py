"""Twins of tests: the same test under a random name, made so that it must fail wherever the test itself passes.

Tests that share a process with the code under test can be tampered with: a comparison that is always true, a patched
framework, a report that says "passed". Whoever does that makes the twin pass as well, and nothing else does.
"""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass
from random import Random

from bondhu.domains.coding.assertions import looks_like_test, of_scope, parsed
from bondhu.errors import InvalidInput

WRONG = "_another_value"  # the helper that a module of twins begins with
HELPER = f"""
def {WRONG}(value, secret={{secret}}):
    if isinstance(value, bool) or value is None:
        return ("twin", secret, value)
    if isinstance(value, (int, float, complex)):
        return secret + 1 if value != value or value in (float("inf"), -float("inf")) else (abs(value) + 1) * secret
    for kind, more in ((str, str(secret)), (bytes, b"twin"), (list, [secret]), (tuple, (secret,))):
        if isinstance(value, kind):
            return kind(value) + more
    return ("twin", secret, value)
"""
OPPOSITE = {"assertTrue": "assertFalse", "assertFalse": "assertTrue"}


@dataclass(frozen=True)
class Named:
    """What a random name stands for."""

    test: str  # such as "TestStack::test_pop"
    twin: bool


def twinned(code: str, rng: Random) -> tuple[str, dict[str, Named]]:
    """A test module in which every test has a random name and, where it asserts outside of branches, twins; and what
    the names mean. Raises InvalidInput where it does not parse, or holds tests that no name could be given to."""
    tree = parsed(code, "test code")
    names = dict[str, Named]()
    tree.body = _with_twins(tree.body, "", rng, names)
    helper = ast.parse(HELPER.format(secret=rng.randrange(10**14, 10**15))).body
    # What is meant for the compiler must stay first.
    first = sum(isinstance(each, ast.ImportFrom) and each.module == "__future__" for each in tree.body)
    first += isinstance(tree.body[0], ast.Expr) if tree.body else 0
    tree.body[first:first] = helper
    return ast.unparse(ast.fix_missing_locations(tree)), names


def _with_twins(body: list[ast.stmt], path: str, rng: Random, names: dict[str, Named]) -> list[ast.stmt]:
    made = list[ast.stmt]()
    for each in body:
        _refuse(each, path)
        if isinstance(each, ast.ClassDef):
            each.body = _with_twins(each.body, f"{path}{each.name}::", rng, names)
        if not isinstance(each, ast.FunctionDef) or not each.name.startswith("test"):
            made.append(each)
            continue
        group = [(each, False), *((twin, True) for twin in _twins(each))]
        rng.shuffle(group)
        test = f"{path}{each.name}"
        for function, is_twin in group:
            function.name = f"test_{rng.getrandbits(64):016x}"
            names[function.name] = Named(test, is_twin)
            made.append(function)
    return made


def _refuse(statement: ast.stmt, path: str) -> None:
    """Tests that would not be counted must not be passed over: whoever fails them would count as right."""
    for node in of_scope(statement):
        taken = node is statement and isinstance(node, (ast.FunctionDef, ast.ClassDef))
        if looks_like_test(node) and not taken:
            test = f"{path}{getattr(node, 'name', '')}"
            what = f"The test {test} (line {getattr(node, 'lineno', 0)}) is async or defined in a branch."
            fix = "Write it as a plain function or method, with asyncio.run where it awaits."
            raise InvalidInput(what, field="test", value=test, fix=fix)


def _twins(function: ast.FunctionDef) -> list[ast.FunctionDef]:
    """One with every assertion turned round, one with other expected values: a comparison that is always true shows in
    the second only, and a test that compares nothing has only the first."""
    made = list[ast.FunctionDef]()
    for change in (_inverted, _expecting_another):
        twin = copy.deepcopy(function)
        # Branches may not be executed: what is turned round in them need not fail.
        if sum(change(statement) for statement in _always(twin.body)):
            made.append(twin)
    return made


def _always(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements that are executed whenever the function comes to its end."""
    found = list[ast.stmt]()
    for each in body:
        found += _always(each.body) if isinstance(each, ast.With) else [each]
        if any(isinstance(node, ast.Return) for node in ast.walk(each)):
            break
    return found


def _method(statement: ast.stmt) -> ast.Call | None:
    """`self.assert…(…)`"""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        function = statement.value.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "self":
            return statement.value
    return None


def _inverted(statement: ast.stmt) -> bool:
    """Turn an assertion round; whether it was one."""
    if isinstance(statement, ast.Assert):
        statement.test = ast.UnaryOp(ast.Not(), statement.test)
        return True
    call = _method(statement)
    if call is not None and isinstance(call.func, ast.Attribute) and call.func.attr in OPPOSITE:
        call.func.attr = OPPOSITE[call.func.attr]
        return True
    return False


def _expecting_another(statement: ast.stmt) -> bool:
    """Change what an assertion of equality expects; whether it was one."""
    if isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare):
        test = statement.test
        if len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
            if isinstance(test.left, ast.Constant):
                test.left = _changed(test.left)
            else:
                test.comparators[0] = _changed(test.comparators[0])
            return True
    call = _method(statement)
    if (
        call is not None
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "assertEqual"
        and len(call.args) > 1
    ):
        place = 0 if isinstance(call.args[0], ast.Constant) else 1
        call.args[place] = _changed(call.args[place])
        return True
    return False


def _changed(value: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(WRONG, ast.Load()), [value], [])
