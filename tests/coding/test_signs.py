"""Ways round the names that are suspected, which are suspected too."""

from __future__ import annotations

import pytest

from bondhu.domains.coding.signs import Evidence, signs


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import operator as o\no.attrgetter('_exit')(os_)\n", ("frame reading", 2)),
        ("from operator import attrgetter\nget = attrgetter('_getframe')\n", ("frame reading", 2)),
        ("import operator\noperator.attrgetter('a.__self__.b')\n", ("frame reading", 2)),
        ("import operator, os\noperator.attrgetter('abort')(os)()\n", ("early exit", 2)),
        ("from operator import methodcaller\nimport os\nmethodcaller('abort')(os)\n", ("early exit", 3)),
        ("print.__self__\n", ("frame reading", 1)),
        ("getattr(print, '__self__')\n", ("frame reading", 1)),
        ("import codecs\ncodecs.decode('riny', 'rot13')\n", ("generated code", 2)),
        ("from codecs import decode as d\n", ("generated code", 1)),
        ("breakpoint()\n", ("frame reading", 1)),
    ],
)
def test_ways_round_are_signs(source: str, found: tuple[str, int]) -> None:
    assert found in {(each.trick, each.line) for each in signs(source)}


@pytest.mark.parametrize(
    "source",
    [
        "from operator import attrgetter, itemgetter\nsorted([], key=attrgetter('size'))\nitemgetter('_')({})\n",
        "def f(codecs, breakpoint):\n    return codecs.decode(breakpoint)\n",
        "text = b''.decode()\n",
    ],
)
def test_ordinary_getters_and_decoding_are_none(source: str) -> None:
    assert signs(source) == ()


def test_a_getter_is_named_with_what_it_gets() -> None:
    source = "import operator\nx = operator.attrgetter('_a')\n"
    assert signs(source) == (Evidence("frame reading", 2, "uses operator.attrgetter with '_a'"),)
