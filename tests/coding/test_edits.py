"""Edits: what each operator makes of a piece of code, and what holds of all of them."""

from __future__ import annotations

import ast
import json
import os
import statistics
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.domains.coding.edits import OPERATORS, applied, edits, injected, inverse, mends
from bondhu.errors import InvalidInput, UnknownName

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[3] / "shared" / "data")) / "humanevalpack_python"
LAYOUT = '''\
import functools


def helper(x):
    return x > 2


@functools.lru_cache(maxsize=None)
def mäßig(größe, *, limit: int = 3):  # a comment
    """Über 'ja' and "nein".

    >>> mäßig(2)
    7
    """
    total = "é" * größe;  # kept
    rows = [
        (name, value)  # inside
        for name, value in enumerate(total)
        if value != "ü"
    ]

    def inner(n):
        return n + limit

    for at, each in rows:
        if (at > limit and
                each):
            total += each
        elif not each: continue
        else:
            text = """
  two
lines"""
            total = text
    order = sorted(rows, key=lambda pair: -pair[0])
    while order:
        try:
            order.pop()
        except IndexError:
            break
    return inner(len(total)), order[1:] if helper(größe) else None
'''


def body(code: str, head: str = "def f(a, b, c):\n") -> str:
    return head + "".join(f"    {line}\n" for line in code.split("\n"))


EXAMPLES = [
    ("comparison_operator", "return a <  b", "return a <= b"),
    ("comparison_operator", "return a in b", "return a not in b"),
    ("arithmetic_operator", "return a - b  # why", "return a * b  # why"),
    ("boolean_operator", "return (a and b) == c", "return (a or b) == c"),
    ("condition_negated", "if a:\n    b = 1", "if not a:\n    b = 1"),
    ("unary_operator", "return not(a)", "return a"),
    ("unary_operator", "return -a ** b", "return a ** b"),
    ("operands_exchanged", "return a - (b - c)", "return b - c - a"),
    ("operands_exchanged", "return a in b", "return b in a"),
    ("regrouped", "return a - b * c", "return (a - b) * c"),
    ("operand_removed", "return (a + b) / 2", "return a + b"),
    ("operand_removed", "return a + b + c", "return a + c"),
    ("operand_inserted", "for i in range(len(a)):\n    b += i", "for i in range(len(a) + 1):\n    b += i"),
    ("operand_inserted", "b = len(a)\nreturn b * c", "b = len(a)\nreturn (b + 1) * c"),
    ("condition_term", "if a > 1 and b:\n    c = 2", "if b:\n    c = 2"),
    ("condition_term", "if a + b == c:\n    return 1\nif a:\n    b = 2",
     "if a + b == c or a:\n    return 1\nif a:\n    b = 2"),
    ("constant_changed", "return a[1]", "return a[0]"),
    ("constant_changed", "return a + 1", "return a + -1"),
    ("constant_changed", "return 'ja'", "return 'Ja'"),
    ("constant_changed", "x = 'é'; return ' '", "x = 'é'; return ''"),
    ("constant_replaced", "return 0", "return a"),
    ("constant_replaced", "x = 0\nreturn x", "x = []\nreturn x"),
    ("variable", "x = a\nreturn x + b", "x = a\nreturn x + x"),
    ("variable", "x = 'ü' + a; return b", "x = 'ü' + c; return b"),
    ("variable", "return [n for n in a if n]", "return [n for n in a if b]"),
    ("variable", "return map(lambda n: n + b, a)", "return map(lambda n: n + n, a)"),
    ("variable_replaced", "return a[b]", "return a[0]"),
    ("expression_to_variable", "x = abs(a)\nreturn x", "x = b\nreturn x"),
    ("subexpression", "return a.sort(key=b)", "return a"),
    ("elements", "return a, b", "return b, a"),
    ("elements", "return [(a, b)]", "return [(b, a)]"),
    ("elements", "return [a, b, c]", "return [a, c]"),
    ("comprehension", "return [x for x in a if x]", "return [x for x in a]"),
    ("function_name", "return min(a)", "return max(a)"),
    ("attribute_name", "return a.lower()", "return a.upper()"),
    ("arguments", "return range(1, a)", "return range(a)"),
    ("arguments", "return a.replace(b, c)", "return a.replace(c, b)"),
    ("keyword", "return sorted(a)", "return sorted(a, reverse=True)"),
    ("keyword", "b = {}\nreturn sorted(a)", "b = {}\nreturn sorted(a, key=lambda x: b[x])"),
    ("call_wrapped", "return sum(a)", "return sum(set(a))"),
    ("call_wrapped", "return a == b", "return set(a) == set(b)"),
    ("call_wrapped", "return ''.join(x for x in a)", "return ''.join(sorted((x for x in a)))"),
    ("method_called", "return a == b", "return a.lower() == b"),
    ("slice_inserted", "return sum(a)", "return sum(a[1:])"),
    ("slice_inserted", "return sum(a)", "return sum(a[:b])"),
    ("slice_bound", "return a[b]", "return a[b:]"),
    ("slice_bound", "return a[b:c]", "return a[c:b]"),
    ("statement_deleted", "a += 1\nb += 1  # two\nreturn a", "a += 1\nreturn a"),
    ("statement_deleted", "if a: b = 1\nreturn b", "if a: pass\nreturn b"),
    ("statements_exchanged", "a = b\n# between\n\nb = a\nreturn a", "b = a\n# between\n\na = b\nreturn a"),
    ("statement_moved_in", "for i in a:\n    b = i\nc = b", "for i in a:\n    b = i\n    c = b"),
    ("statement_moved_in", "c = b\nfor i in a:\n    b = i", "for i in a:\n    c = b\n    b = i"),
    ("statement_moved_out", "for i in a:\n    b = i\n    return b", "for i in a:\n    b = i\nreturn b"),
    ("statement_moved_out", "for i in a:\n    c = b\n    b = i", "c = b\nfor i in a:\n    b = i"),
    ("condition_unwrapped", "if a:\n    b = 1\n    c = 2\nreturn b", "b = 1\nc = 2\nreturn b"),
    ("condition_unwrapped", "if a:\n    b = 1\nelif c:\n    b = 2", "if a:\n    b = 1\nif c:\n    b = 2"),
    ("condition_unwrapped", "if a:\n    b = 1\nelse:\n    b = 2\nreturn b", "if a:\n    b = 1\nb = 2\nreturn b"),
    ("else_added", "if a:\n    b = 1\nb = 2\nreturn b", "if a:\n    b = 1\nelse:\n    b = 2\nreturn b"),
    ("else_added", "if a:\n    b = 1\nif c:\n    b = 2\nreturn b", "if a:\n    b = 1\nelif c:\n    b = 2\nreturn b"),
    ("branches_exchanged", "if a:\n    b = 1  # one\nelse:\n    c = 2", "if a:\n    c = 2\nelse:\n    b = 1  # one"),
    ("loop_or_condition", "if a:\n    a.pop()", "while a:\n    a.pop()"),
    ("statement_guarded", "for i in a:\n    for j in b:\n        c.add(i)",
     "for i in a:\n    for j in b:\n        if i == j:\n            c.add(i)"),
    ("values_exchanged", "if a:\n    return b\nreturn c", "if a:\n    return c\nreturn b"),
    ("constants_changed", "if a:\n    return b[1]\nreturn c[1]", "if a:\n    return b[2]\nreturn c[2]"),
    ("constants_changed", "return 'yes' if a else 'no'", "return 'Yes' if a else 'No'"),
    ("assignment_kind", "a *= b", "a = b"),
    ("assignment_kind", "a += b", "a -= b"),
    ("assignment_kind", "a.add(b)", "return a.add(b)"),
    ("way_out", "for i in a:\n    if i:\n        break", "for i in a:\n    if i:\n        continue"),
    ("way_out", "b = a", "b = a\nreturn b"),
    ("guard_inserted", "return a[0]", "if not a:\n    return None\nreturn a[0]"),
    ("guard_inserted", "for i in a:\n    b.add(i)", "for i in a:\n    if not i:\n        continue\n    b.add(i)"),
    ("assignment_inserted", "n = 9\nwhile n:\n    a.add(n)", "n = 9\nwhile n:\n    a.add(n)\n    n -= 1"),
    ("statement_repeated", "a.pop()\nif b:\n    c = 1", "a.pop()\nif b:\n    c = 1\n    a.pop()"),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "before", "after"), EXAMPLES)
def test_an_operator_makes_this_of_that(operator: str, before: str, after: str) -> None:
    source = body(before)
    made = [applied(source, edit) for edit in edits(source, "f", {operator})]
    assert body(after) in made


def test_every_operator_has_an_example() -> None:
    assert {operator for operator, *_ in EXAMPLES} == set(OPERATORS)


def untouched(source: str, edit) -> tuple[str, str]:
    """What stands in lines before and after those of an edit."""
    first = source.rfind("\n", 0, edit.start) + 1
    last = source.find("\n", edit.end)
    return source[:first], source[last:] if last >= 0 else ""


def test_every_edit_of_a_module_with_all_kinds_of_layout_is_another_program_that_compiles() -> None:
    seen = {ast.dump(ast.parse(LAYOUT))}
    found = edits(LAYOUT, "mäßig")
    for edit in found:
        after = applied(LAYOUT, edit)
        compile(after, "edited", "exec")
        shape = ast.dump(ast.parse(after))
        assert shape not in seen, edit
        seen.add(shape)
        head, tail = untouched(LAYOUT, edit)
        assert after.startswith(head)
        assert after.endswith(tail)
    assert len(found) > 500
    assert {edit.function for edit in found} == {"mäßig", "inner", "helper"}


def test_the_order_is_always_the_same_and_the_entry_comes_first() -> None:
    found = edits(LAYOUT, "mäßig")
    assert found == edits(LAYOUT, "mäßig")
    assert found[0].function == "mäßig"
    assert found[-1].function == "helper"


def test_decorators_annotations_and_docstrings_stay() -> None:
    for edit in edits(LAYOUT, "mäßig"):
        after = applied(LAYOUT, edit)
        assert "@functools.lru_cache(maxsize=None)\n" in after
        assert "limit: int" in after
        assert "Über 'ja' and \"nein\"" in after


def test_a_string_over_lines_keeps_its_indentation_when_its_statement_moves() -> None:
    source = body('for i in a:\n    b = i\nc = """x\n  y"""')
    made = [applied(source, edit) for edit in edits(source, "f", {"statement_moved_in"})]
    assert made == ['def f(a, b, c):\n    for i in a:\n        b = i\n        c = """x\n      y"""\n']


def test_a_method_and_a_file_without_a_last_line_break_can_be_edited() -> None:
    source = "class A:\n    def f(self, a):\n        return a + 1"
    made = [applied(source, edit) for edit in edits(source, "f", {"guard_inserted", "arithmetic_operator"})]
    assert "class A:\n    def f(self, a):\n        return a - 1" in made
    assert "class A:\n    def f(self, a):\n        if a == 0:\n            return None\n        return a + 1" in made


def test_only_the_entry_is_edited_without_helpers() -> None:
    assert {edit.function for edit in edits(LAYOUT, "helper", helpers=False)} == {"helper"}


def test_a_variable_is_not_used_before_it_is_bound() -> None:
    source = body("x = a\ny = x\nreturn y")
    made = [applied(source, edit) for edit in edits(source, "f", {"variable"})]
    assert body("x = b\ny = x\nreturn y") in made
    assert body("x = y\ny = x\nreturn y") not in made


def test_constants_of_the_docstring_are_at_hand() -> None:
    source = body('"""Returns \'YES\' at 42."""\nreturn "no"')
    made = [edit.after for edit in edits(source, "f", {"constant_changed"})]
    assert "'YES'" in made or '"YES"' in made


def test_an_edit_is_plain_data() -> None:
    for edit in edits(LAYOUT, "mäßig")[:50]:
        assert json.loads(json.dumps(asdict(edit)))["path"] == list(edit.path)


def test_the_path_leads_to_the_node_that_changes() -> None:
    source = body("return a.lower()")
    edit = edits(source, "f", {"attribute_name"})[0]
    assert edit.path == ("body", 0, "body", 0, "value", "func")
    assert (edit.line, edit.before, edit.after) == (2, "a.lower", "a.upper")


def test_the_inverse_leads_back() -> None:
    for edit in edits(LAYOUT, "mäßig"):
        assert applied(applied(LAYOUT, edit), inverse(edit)) == LAYOUT


def test_a_bug_is_injected_with_the_edit_that_mends_it() -> None:
    source, rng = (
        body("total = 0\nfor i in range(a):\n    if i < b:\n        total += i\nreturn total"),
        np.random.default_rng(3),
    )
    found = 0
    for _ in range(40):
        broken, edit, mending = injected(source, "f", rng)
        assert broken == applied(source, edit) != source
        assert ast.dump(ast.parse(applied(broken, mending))) == ast.dump(ast.parse(source))
        found += mending.operator in OPERATORS
    assert found >= 20


def test_the_edit_that_mends_is_found_or_none() -> None:
    broken = body("return a + b")
    assert mends(broken, "f", body("return a - b")).operator == "arithmetic_operator"
    assert mends(broken, "f", body("return [c]")) is None


def test_an_edit_of_another_source_is_refused() -> None:
    edit = edits(body("return a + b"), "f")[0]
    with pytest.raises(InvalidInput, match="does not fit"):
        applied(body("return b"), edit)


def test_a_source_that_does_not_parse_and_an_entry_that_is_not_there_are_refused() -> None:
    with pytest.raises(InvalidInput, match="does not parse"):
        edits("def f(:", "f")
    with pytest.raises(UnknownName, match="Did you mean 'mäßig'"):
        edits(LAYOUT, "mässig")


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    NAMES | st.sampled_from(["0", "1", "'é'", '"x y"', "[]", "None", "len(a)", "b[1:]", "c.x", "(lambda d: d)(a)"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "**", "//", "<", "==", "and", "or", "in", "is not"]), inner).map(
            lambda each: f"({each[0]} {each[1]} {each[2]})"
        ),
        inner.map(lambda each: f"-({each})"),
        inner.map(lambda each: f"(not {each})"),
        st.tuples(inner, inner).map(lambda each: f"({each[0]}, {each[1]})"),
        st.tuples(inner, inner).map(lambda each: f"[x for x in [{each[0]}] if {each[1]}]"),
        st.tuples(inner, inner, inner).map(lambda each: f"(({each[0]})if {each[1]} else {each[2]})"),
        st.tuples(inner, inner).map(lambda each: f"f({each[0]}, *a, k={each[1]})"),
        inner.map(lambda each: f"sum(x for x in [{each}])"),
    ),
    max_leaves=5,
)


@st.composite
def bodies(draw: st.DrawFn, depth: int = 0) -> list[str]:
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(
            st.sampled_from(
                ["assign", "augmented", "return", "call", "if", "else", "for", "while"][: 8 if depth < 2 else 4]
            )
        )
        value, name = draw(VALUES), draw(NAMES)
        if kind == "assign":
            lines += [f"{name} = {value};  # note"]
        elif kind in {"augmented", "return", "call"}:
            lines += [
                {"augmented": f"{name} += {value}", "return": f"return({value})", "call": f"print({value})"}[kind]
            ]
        else:
            head = {"for": f"for {name} in {value}:", "while": f"while {value}:"}.get(kind, f"if {value}:")
            lines += [head, *(f"  {each}" for each in draw(bodies(depth + 1)))]
            if kind == "else":
                other = f"elif {draw(VALUES)}:" if draw(st.booleans()) else "else:"
                lines += [other, *(f"  {each}" for each in draw(bodies(depth + 1)))]
    return lines


@settings(max_examples=25, deadline=None)
@given(bodies(), st.randoms(use_true_random=False))
def test_whatever_the_function_every_edit_parses_differs_and_leaves_other_lines_alone(lines, random) -> None:
    source = "def f(a, b, c):\n" + "".join(f"  {line}\n" for line in lines)
    found = edits(source, "f")
    original = ast.dump(ast.parse(source))
    seen = set()
    for edit in random.sample(found, min(len(found), 120)):
        after = applied(source, edit)
        compile(after, "edited", "exec", dont_inherit=True, flags=ast.PyCF_ONLY_AST)
        shape = ast.dump(ast.parse(after))
        assert shape != original
        assert shape not in seen
        seen.add(shape)
        head, tail = untouched(source, edit)
        assert after.startswith(head)
        assert after.endswith(tail)


@pytest.mark.skipif(
    not DATA.exists(), reason="no HumanEvalPack: set BONDHU_DATA to a folder with humanevalpack_python/"
)
def test_most_real_bugs_are_one_edit_away_from_the_right_program() -> None:
    rows = [json.loads(line) for line in (DATA / "humanevalpack_visible.jsonl").read_text().splitlines()]
    mended, counts = 0, []
    for row in rows:
        broken, right = (row["prompt"] + row[each] for each in ("buggy_solution", "canonical_solution"))
        mended += mends(broken, row["entry_point"], right) is not None
        counts.append(len(edits(broken, row["entry_point"])))
    assert mended >= 0.8 * len(rows)
    assert statistics.median(counts) <= 700
