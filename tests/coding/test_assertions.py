"""What is not taken from test code is refused by name, and what leaves the process does not."""

from __future__ import annotations

import pytest

from bondhu.domains.coding import bench
from bondhu.domains.coding.assertions import assertions, decoded
from bondhu.domains.coding.bench import Live
from bondhu.errors import InvalidInput

PLAIN = "def test_plain():\n    assert f(0) == 2\n\n"
KINDS = {
    "test_a": "@pytest.mark.parametrize('a', [1])\ndef test_a(a):\n    assert f(a) == 2\n",
    "test_b": "def test_b(one):\n    assert f(one) == 2\n",
    "test_c": "async def test_c():\n    assert f(1) == 2\n",
    "test_d": "def test_d():\n    assert f(1) == 2\n    return\n",
    "test_e": "def test_e():\n    with pytest.raises(TypeError):\n        f('a')\n",
    "test_f": "if True:\n    def test_f():\n        assert f(1) == 2\n",
    "test_g": "def test_g():\n    assert another(1) == 2\n",
    "TestX": "class TestX:\n    def test_q(self):\n        assert f(5) == 6\n",
    "Cases": "class Cases(TestCase):\n    async def test_q(self):\n        self.assertEqual(f(5), 6)\n",
}


@pytest.mark.parametrize("name", KINDS)
def test_tests_that_cannot_be_taken_are_named(name: str) -> None:
    for code in (PLAIN + KINDS[name], KINDS[name]):
        with pytest.raises(InvalidInput, match=f"cannot be taken apart into assertions about 'f': {name}\\.") as raised:
            assertions(code, "f")
        assert raised.value.value == [name]
        assert "bondhu.domains.coding.repository" in raised.value.fix


def test_all_of_them_are_named_and_a_shared_name_makes_no_helper_of_a_test() -> None:
    code = "CASES = [1]\ndef test_a(two):\n    assert f(CASES) == two\nclass TestX:\n    pass\nassert f(CASES) == 2\n"
    with pytest.raises(InvalidInput, match="'f': test_a, TestX"):
        assertions(code, "f")


def test_helpers_of_tests_may_be_called_like_tests() -> None:
    code = "def test_data():\n    return 3\n\nclass Tested:\n    n = 1\n\nassert f(test_data()) == Tested.n\n"
    (test,) = assertions(code, "f")
    assert test.call is not None
    assert test.call.arguments == (3,)


@pytest.mark.parametrize("leaving", ["sys.exit(0)", "exec('raise SystemExit')", "exec('raise GeneratorExit')"])
def test_test_code_that_leaves_ends_neither_the_reader_nor_the_bench(leaving: str) -> None:
    code = f"import sys\ny = {leaving}\nassert f(y) == 2"
    (test,) = assertions(code, "f")
    assert test.call is None
    assert assertions("assert f(1) == 2", "f", f"import sys\n{leaving}")[0].call is None
    assert bench.problem(code, "", "f", int).startswith("raised ")
    end, problem = Live(code, "", "f").asked.get(timeout=10)
    assert (end, problem.partition(" ")[0]) == ("end", "raised")


def test_ctrl_c_while_tests_are_read_is_not_caught() -> None:
    code = "y = exec('raise KeyboardInterrupt')\nassert f(y) == 2"
    with pytest.raises(KeyboardInterrupt):
        assertions(code, "f")
    with pytest.raises(KeyboardInterrupt):
        bench.problem(code, "", "f", int)


@pytest.mark.parametrize(
    "data",
    ["x = 'é'\n".encode(), b"\xef\xbb\xbfx = '\xc3\xa9'\r\n", b"# -*- coding: latin-1 -*-\nx = '\xe9'\n"],
    ids=["utf-8", "mark", "cookie"],
)
def test_a_file_is_decoded_as_it_says(data: bytes) -> None:
    assert decoded(data, "m.py").splitlines()[-1] == "x = 'é'"
    assert "\r" not in decoded(data, "m.py")


@pytest.mark.parametrize(
    "data", [b"x = '\xe9'\n", b"\n" * 9 + b"'\xe9'", b"# coding: martian\n", b"# coding: hex\n1\n"]
)
def test_a_file_that_cannot_be_decoded_is_one_error(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"m\.py cannot be decoded: ") as raised:
        decoded(data, "m.py")
    assert "UTF-8" in raised.value.fix
