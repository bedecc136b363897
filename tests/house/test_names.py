"""Names say what a thing is; tests assert; every equation, learner and estimator is tested with numbers."""

from __future__ import annotations

import ast
import re

from tests.house.source import PACKAGE, TESTS, files_of_tests, functions, modules, tree

SUFFIXES = ("Factory", "Builder", "Mixin", "Manager", "Impl", "Base")
FILES = {"utils", "common", "base", "core", "helpers"}


def test_no_class_is_named_after_a_pattern() -> None:
    names = [node.name for path in modules() for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    assert [name for name in names if name.endswith(SUFFIXES)] == []


def test_no_file_is_a_drawer() -> None:
    assert [path.name for path in modules() if path.stem in FILES] == []


def test_every_module_says_what_it_gives() -> None:
    silent = [path.name for path in modules() if path.read_text().strip() and not ast.get_docstring(tree(path))]
    assert silent == []


def test_every_test_asserts() -> None:
    def asserts(node: ast.AST) -> bool:
        return any(
            isinstance(each, ast.Assert)
            or (isinstance(each, ast.Attribute) and each.attr in {"raises", "assert_allclose", "assert_array_equal"})
            or (isinstance(each, ast.Name) and each.id.startswith(("assert_", "check_", "expect")))
            for each in ast.walk(node)
        )

    idle = [
        f"{path.name}:{node.name}"
        for path in files_of_tests()
        for node in functions(path)
        if node.name.startswith("test_") and not asserts(node)
    ]
    assert idle == []


def test_every_equation_is_tested() -> None:
    tested = "\n".join(path.read_text() for path in (TESTS / "equations").glob("test_*.py"))
    for path in (PACKAGE / "equations").glob("*.py"):
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert re.search(rf"\b{node.name}\b", tested), f"{path.name}:{node.name} has no test in tests/equations"


def test_no_suppression_lacks_a_reason() -> None:
    bare = [
        f"{path.name}: {line.strip()}"
        for path in modules()
        for line in path.read_text().splitlines()
        if re.search(r"type: ignore(?!\[[\w\-, ]+\]\s+#)", line)
    ]
    assert bare == []


def test_no_note_to_self_is_left() -> None:
    pattern = re.compile(r"\b(TODO|FIXME|XXX)\b")
    assert [path.name for path in modules() if pattern.search(path.read_text())] == []
